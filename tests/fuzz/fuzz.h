/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "base/error.h"

/* libFuzzer's entry; whatever the bytes are, the function returns, leaks nothing and touches no memory that is not its own. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a string. */
static inline char *fuzz_text(const uint8_t *data, size_t size) {
        char *text = malloc(size + 1);

        assert(text);
        memcpy(text, data, size);
        text[size] = 0;
        return text;
}
