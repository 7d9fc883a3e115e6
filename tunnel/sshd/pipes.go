package sshd

import (
	"errors"
	"os"
	"sync"

	"netvps/tunnel/forward"
)

// runOnPipes runs a program without a terminal. Like OpenSSH, it waits for the end of the program and then for the end of
// its output: a background process keeps the channel open as long as it holds the pipes.
func (s *session) runOnPipes(path string, argv []string) exit {
	theirs, ours, err := threePipes()
	if err != nil {
		return s.notStarted(path, err)
	}
	for _, pipe := range theirs { // so that they may be opened as /dev/stdin, /dev/stdout and /dev/stderr
		if err := pipe.Chown(int(s.account.UID), int(s.account.GID)); err != nil && !s.account.IsSelf() {
			s.log.Info("pipe not given to its user", "error", err)
		}
	}
	cmd, err := s.launch(path, argv, theirs[0], theirs[1], theirs[2])
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return s.notStarted(path, err)
	}
	process := &process{cmd: cmd}
	if s.keep(process, ours...) {
		go s.feed(ours[0])
	}
	var output sync.WaitGroup
	touch := s.server.Activity.Touch
	output.Go(func() { _ = forward.Copy(s.channel, ours[1], touch); _ = ours[1].Close() })
	output.Go(func() { _ = forward.Copy(s.channel.Stderr(), ours[2], touch); _ = ours[2].Close() })
	ended := process.wait()
	output.Wait()
	return ended
}

// feed copies the client's bytes to the program, then its EOF.
func (s *session) feed(stdin *os.File) {
	_ = forward.Copy(stdin, s.channel, s.server.Activity.Touch)
	_ = stdin.Close()
}

// threePipes creates standard input, output and error: the ends for the program, and ours.
func threePipes() (theirs, ours []*os.File, err error) {
	for i := range 3 {
		read, write, pipeErr := os.Pipe()
		if pipeErr != nil {
			closeAll(append(theirs, ours...))
			return nil, nil, errors.Join(errors.New("no pipe"), pipeErr)
		}
		if i == 0 {
			theirs, ours = append(theirs, read), append(ours, write)
		} else {
			theirs, ours = append(theirs, write), append(ours, read)
		}
	}
	return theirs, ours, nil
}
