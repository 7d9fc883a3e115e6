# Commands whose exit codes and last words must be the same, one a line. Run by the agent's server and by sshd.
true
exit 255
exit 256
/no/such/program
/etc
(
kill -KILL $$
kill -SEGV $$
(sleep 0.2; echo late) & echo soon
sleep 1 >/dev/null 2>&1 </dev/null & echo soon
exec 1>&- 2>&-; sleep 0.1; exit 4
seq 100000 | tail -n 1; seq 20000 >&2
yes | head -c 3
test -t 0 || echo opened > /dev/stderr
test -t 0 || { cat; cat; }
