#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What passthru relies on, at its worst: libvirtd stopped, killed and hung in each phase of a plug and an unplug; polkitd's
real answers."""
import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST, USER = mainjob.CONTROLLER, 'nas', 'nasadmin'
JOURNAL = '/var/lib/passthru/journal'
LIBVIRTD = 'libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service'

# usage: strike.py KIND STEP ACTION...: when the journal tells that the step begins (KIND start) or that the change is committed
# (KIND commit), libvirtd is frozen at once, before it can be asked, and then the action is run.
STRIKE = r'''
import json, os, signal, subprocess, sys, time
kind, step, action = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pid = int(subprocess.run(['systemctl', 'show', '-P', 'MainPID', 'libvirtd'], capture_output=True, text=True).stdout)
journal = open('/var/lib/passthru/journal')
journal.seek(0, os.SEEK_END)
print('waiting', flush=True)
rest = ''
while True:
    rest += journal.read()
    *lines, rest = rest.split('\n')
    records = [json.loads(line) for line in lines]
    if any(r['type'] == kind and (kind == 'commit' or r['step'] == step) for r in records):
        break
    time.sleep(0.002)
os.kill(pid, signal.SIGSTOP)
print('struck', flush=True)
subprocess.run(action, shell=True, check=True)
'''

ACTIONS = {
    'stopped': f'systemctl stop {LIBVIRTD}; sleep 5; systemctl start {LIBVIRTD}',
    'killed': 'kill -KILL $(systemctl show -P MainPID libvirtd)',
    'hung': 'sleep 15; kill -CONT $(systemctl show -P MainPID libvirtd)',
    'hung for long': 'sleep 110; kill -CONT $(systemctl show -P MainPID libvirtd)',
}
PHASES = {  # command, kind of step
    'attach': ('assign', HBA, GUEST), 'plug': ('assign', HBA, GUEST), 'unplug': ('release', HBA), 'detach': ('release', HBA),
}
# make check strikes each phase and each action at least once
IN_CHECK = [('attach', 'hung'), ('plug', 'killed'), ('unplug', 'stopped'), ('detach', 'killed')]


def is_plugged(lab):
    return 'ua-passthru' in lab.run(f'virsh dumpxml {GUEST}').out


def lead(lab, state):
    if state == 'after' and not is_plugged(lab):
        if installed.driver(lab, HBA) == 'vfio-pci':  # assigned, but not plugged
            installed.must(lab, 'release', HBA, '--yes')
        installed.must(lab, 'assign', HBA, GUEST, '--yes')
    elif state == 'before' and installed.driver(lab, HBA) == 'vfio-pci':
        installed.must(lab, 'release', HBA, '--yes', *(['--force-unplug'] if is_plugged(lab) else []))
    if state == 'before':
        installed.wait_for_serials(lab, mainjob.serials(lab))


def settle(lab):
    lab.wait_for('virsh list', 60)
    lab.wait_for('[ "$(busctl get-property org.passthru1 /org/passthru1 org.passthru1.Manager State)" = \'s "ready"\' ] && '
                 '! pgrep -f "^passthrud --worker (apply|recover)" > /dev/null', 150)


def strike(lab, guest, phase, action):
    command = PHASES[phase]
    begin, end = ('before', 'after') if command[0] == 'assign' else ('after', 'before')
    lead(lab, begin)
    steps = [step['kind'] for step in installed.ctl_json(lab, *command, '--dry-run')['steps']]
    kind = ('commit', 0) if phase == 'plug' else ('start', steps.index(phase))
    striker = lab.spawn(['python3', '/tmp/strike.py', kind[0], str(kind[1]), ACTIONS[action]])
    striker.wait_output('waiting', 20)
    status, _, err = installed.ctl(lab, *command, '--yes', timeout=300)
    result = striker.wait(200)
    tap.contains(result.out, 'struck')
    settle(lab)
    to_begin, to_end = installed.differences_from(lab, begin, end)
    plugged = is_plugged(lab)
    tap.say(f'libvirtd {action} at {phase}: status {status}, as {begin if not to_begin else end}, '
            f'{"in" if plugged else "not in"} the running guest; {err.splitlines()[0] if err else ""}')
    if to_begin and to_end:
        raise AssertionError(f'neither before nor after\nagainst {begin}:\n{to_begin}\nagainst {end}:\n{to_end}')
    now = end if not to_end else begin
    tap.equal(plugged, now == 'after' and 'not-plugged' not in err and 'the next time' not in err,
              'the running guest has the controller')
    if status == 0:
        tap.equal(now, end, 'what "done" means')
    elif action == 'hung for long':  # longer than the daemon waits before it tells
        tap.contains(err, f'stands at step {steps.index(phase) + 1} of' if 'goes on' in err else 'libvirt')
    else:
        tap.contains(err, 'libvirt')
    tap.equal(guest.run('echo still here').out.strip(), 'still here', 'the guest')


@suite.case
def libvirtd_in_each_phase(lab):
    """libvirtd stopped, killed or hung while it is asked: the host equals before or after, and the client is told which"""
    guest = l2.Guest(lab, GUEST)
    digests = {serial: lab.sha256(disk) for serial, disk in mainjob.serials(lab).items()}
    lead(lab, 'before')
    installed.snapshot(lab, 'before')
    lead(lab, 'after')
    installed.snapshot(lab, 'after')
    struck = [(p, a) for p in PHASES for a in ACTIONS] if tap.FULL else IN_CHECK
    for phase, action in struck:
        strike(lab, guest, phase, action)
    lead(lab, 'before')
    tap.say(f'{len(struck)} points struck')
    tap.equal({serial: lab.sha256(disk) for serial, disk in mainjob.serials(lab).items()}, digests, 'contents of the disks')


# -- polkit ------------------------------------------------------------------------------------------------------------

RULE = '''polkit.addRule(function(action, subject) {
    if (action.id == "org.passthru1.inspect" && subject.isInGroup("storage"))
        return polkit.Result.YES;
    if (action.id == "org.passthru1.assign" && subject.isInGroup("storage") && action.lookup("guest") == "%s" &&
        action.lookup("controllers") == "%s")
        return polkit.Result.YES;
});
''' % (GUEST, HBA)

# usage: terminal.py USER PASSWORD COMMAND: in a session of the user's own with a terminal. Whatever password is asked for there is
# answered, and all that is shown is printed.
TERMINAL = r'''
import os, pty, select, sys, time
user, password, command = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('runuser', ['runuser', '-l', user, '--session-command', command])
shown, answered, end = '', 0, time.time() + 90
while time.time() < end:
    ready, _, _ = select.select([terminal], [], [], 1)
    try:
        data = os.read(terminal, 4096) if ready else b''
    except OSError:
        break
    shown += data.decode(errors='replace')
    if shown.count('assword:') > answered:
        time.sleep(1)
        os.write(terminal, password.encode() + b'\n')
        answered += 1
print(shown)
'''


def as_user(lab, *arguments):
    """passthructl as the unprivileged user, without a terminal."""
    result = lab.run(['runuser', '-u', USER, '--', 'passthructl', *arguments], timeout=120, check=False)
    return result.rc, result.out.strip(), result.err.strip()


@suite.case
def polkit(lab):
    """assign: denied by polkitd, allowed by a rule for one group of users, one controller and one guest, asked for on a terminal"""
    lead(lab, 'before')
    lab.run(f'groupadd storage && useradd -m {USER} && echo root:secret | chpasswd')
    before = installed.snapshot(lab, 'polkit')
    status, out, err = as_user(lab, 'assign', HBA, GUEST, '--yes')
    tap.say(err)
    tap.equal((status, out), (1, ''), 'assign by a user whom nothing allows it')
    tap.contains(err, 'permission denied', 'org.passthru1')
    installed.same(lab, before)
    lab.write('/tmp/terminal.py', TERMINAL)
    for password, expected in (('wrong', 1), ('secret', 0)):
        shown = lab.run(['python3', '/tmp/terminal.py', USER, password, f'passthructl assign {HBA} {GUEST} --yes; echo "status $?"'],
                        timeout=150).out
        tap.say(shown)
        tap.contains(shown, f'status {expected}')
    tap.contains(shown, f'take {HBA} from this host and give it to guest {GUEST}')
    lead(lab, 'before')
    lab.run(f'usermod -aG storage {USER}')
    lab.write('/etc/polkit-1/rules.d/50-passthru.rules', RULE)
    lab.run('chmod 644 /etc/polkit-1/rules.d/50-passthru.rules; systemctl restart polkit', timeout=60)
    status, _, err = as_user(lab, 'assign', '0000:02:00.0', GUEST, '--yes')
    tap.say(err)
    tap.equal(status, 1, 'assign of another controller than the rule names')
    tap.contains(err, 'permission denied', '0000:02:00.0', GUEST)
    status, _, err = as_user(lab, 'assign', HBA, GUEST, '--yes')
    tap.equal((status, err), (0, ''), 'assign by the group that the rule allows it')
    tap.equal(is_plugged(lab), True, 'the running guest has the controller')
    lab.run('rm /etc/polkit-1/rules.d/5?-*.rules; systemctl restart polkit', timeout=60)
    status, _, err = as_user(lab, 'release', HBA, '--yes')
    tap.equal(status, 1, 'release without a rule')
    tap.contains(err, 'permission denied', 'org.passthru1')


def main():
    with Lab(name='services', topology='default', memory=4096) as lab:
        installed.install(lab)
        lab.write('/tmp/strike.py', STRIKE)
        guest = l2.define_guest(lab, GUEST, stay=True, agent=True)
        guest.start()
        guest.wait_ready()
        suite.run(lab)


if __name__ == '__main__':
    main()
