# What a login shows of itself, in lines "NAME: VALUE" and "env NAME=VALUE". Run by the agent's server and by sshd.
echo groups: $(id)
echo umask: $(umask)
echo limits: $(ulimit -a; ulimit -Ha; cat /proc/self/limits)
echo folder: $(pwd; cd && pwd)
echo descriptors: $(ls /proc/self/fd)
for fd in 0 1 2; do echo fd $fd: $(stat -L -c '%U %G %a %F' /proc/$$/fd/$fd); done
# O_LARGEFILE (0100000) has no effect on 64 bits.
echo flags: $(grep -h flags /proc/$$/fdinfo/0 /proc/$$/fdinfo/1 /proc/$$/fdinfo/2 | sed s/01000//)
echo addresses: $(echo "$SSH_CLIENT, $SSH_CONNECTION" | sed -E 's/ [0-9]+/ PORT/g')
echo opened > /dev/stdout
# Of grep itself: bash blocks signals for a moment while it starts a program.
echo status: $(grep -E '^(SigBlk|SigIgn|Groups|NoNewPrivs|Seccomp|CapEff|CapInh|CapBnd):' /proc/self/status)
echo oom: $(cat /proc/self/oom_score_adj; nice)
echo leader: $(cut -d" " -f1,5,6 /proc/$$/stat | sed "s/$$/self/g")
echo shell: $0 $-
echo from /etc: $FROM_ETC, $QUOTED
echo HOME: $HOME
if tty >/dev/null; then
  echo owner: $(stat -c "%U %G %a" $(tty))
  echo modes: $(stty -a)
  echo term: $TERM
  test "$SSH_TTY" = "$(tty)" && echo SSH_TTY is the terminal
else
  echo standard input: $(cat /dev/stdin)
fi
env | sed 's/^/env /'
