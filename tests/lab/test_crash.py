#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGKILL of the worker and of the daemon after every journal record of one assign and one release.

strace attaches to the daemon and what it starts, and strikes when the worker syncs its Nth journal record, which is
written by then. Nothing in the product helps with this."""
import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, mainjob.GUEST
JOURNAL = '/var/lib/passthru/journal'
STEP = 1 if tap.FULL else 8  # every record in make check-all, every eighth in make check

STRIKE = r'''
# usage: strike SIGNAL N COMMAND...: the worker gets SIGNAL at its Nth journal record
signal=$1 n=$2; shift 2
main=$(systemctl show -P MainPID passthrud)
strace -f -o /tmp/strike.trace -P %(journal)s -e trace=fsync,fdatasync \
        -e inject=fsync,fdatasync:signal=$signal:when=$n -p $main &
tracer=$!
for i in $(seq 100); do grep -q "TracerPid:.[1-9]" /proc/$main/status && break; sleep 0.1; done
"$@" > /tmp/strike.out 2>&1 &
client=$!
if [ $signal = SIGSTOP ]; then
        for i in $(seq 300); do
                grep -q "stopped by SIGSTOP" /tmp/strike.trace && break
                kill -0 $client 2>/dev/null || break
                sleep 0.1
        done
        worker=$(pgrep -f "passthrud --worker apply")
        kill -KILL $main $tracer
        wait $tracer 2>/dev/null
        sleep 1
        [ -n "$worker" ] && kill -CONT $worker
fi
wait $client
echo "client ended with $?"
# Asked to end, strace would wait for a daemon that waits for a child (vfork) that waits for strace.
kill -KILL $tracer 2>/dev/null
exit 0
''' % {'journal': JOURNAL}

SETTLED = r'''
for i in $(seq 120); do
        systemctl is-active -q passthrud && ! pgrep -f "passthrud --worker (apply|recover)" > /dev/null && break
        sleep 0.5
done
systemctl is-active passthrud
'''


def records(lab):
    """Records of the last transaction in the journal."""
    _, out = lab.run(f'grep -n \'"begin"\' {JOURNAL} | tail -1 | cut -d: -f1; wc -l < {JOURNAL}')
    first, last = map(int, out.split())
    return last - first + 1


def settle(lab):
    """The daemon is up again and no worker is left."""
    _, out = lab.run(SETTLED, timeout=120, check=False)
    tap.equal(out.strip(), 'active', 'passthrud after the strike')


def lead(lab, state):
    """Leads the host to the state, through passthructl: before the assignment or after it."""
    if state == 'after':
        installed.must(lab, 'assign', HBA, GUEST, '--yes')
    else:
        installed.must(lab, 'release', HBA, '--yes')
        installed.wait_for_serials(lab, mainjob.serials(lab))


def strike_all(lab, command, begin, end, count):
    """Strikes at each of the command's records; it leads from the state `begin` to `end`. How many points there were."""
    points = 0
    for signal in ('SIGKILL', 'SIGSTOP'):
        for n in range(1, count + 1, STEP):
            _, out = lab.run(f'bash /tmp/strike {signal} {n} passthructl {command}', timeout=180)
            settle(lab)
            points += 1
            to_begin, to_end = installed.differences_from(lab, begin, end)
            if to_begin and to_end:
                raise AssertionError(f'{signal} at record {n} of {command}: neither before nor after.\n{out}\n'
                                     f'against {begin}:\n{to_begin}\nagainst {end}:\n{to_end}')
            tap.say(f'{signal} at record {n} of {count} of {command.split()[0]}: as {begin if not to_begin else end}')
            if not to_end:
                lead(lab, begin)
    return points


@suite.case
def killed_at_every_record(lab):
    """after SIGKILL at any journal record of assign and release the host equals before or after"""
    lab.run(f"cat > /tmp/strike <<'END'\n{STRIKE}\nEND")
    installed.snapshot(lab, 'before')
    lead(lab, 'after')
    in_assign = records(lab)
    installed.snapshot(lab, 'after')
    lead(lab, 'before')
    in_release = records(lab)
    points = strike_all(lab, f'assign {HBA} {GUEST} --yes', 'before', 'after', in_assign)
    lead(lab, 'after')
    points += strike_all(lab, f'release {HBA} --yes', 'after', 'before', in_release)
    tap.say(f'{points} points struck: {in_assign} records in an assign, {in_release} in a release, every {STEP}.,'
            ' the worker and the daemon')
    tap.equal(points >= 2 * (in_assign + in_release) // STEP, True, 'number of points')


def main():
    with Lab(name='crash', topology='default') as lab:
        installed.install(lab)
        l2.define_guest(lab, GUEST, stay=True)
        suite.run(lab)


if __name__ == '__main__':
    main()
