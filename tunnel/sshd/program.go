package sshd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"netvps/tunnel/passwd"
)

// Exit codes of shells for what could not be run.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// internalSftp is sshd_config(5)'s name for the server that needs no program of the image.
const internalSftp = "internal-sftp"

// udpRelay is the subsystem by which `netvps forward` reaches UDP ports.
const udpRelay = "udp@netvps"

// program returns what to run: path and argv.
type program func() (path string, argv []string, err error)

func (s *session) loginShell() (string, []string, error) {
	shell, err := s.shell()
	if s.terminal != nil && s.kept == nil && err == nil {
		s.greet()
	}
	return shell.Path, []string{"-" + shell.Name}, err
}

func (s *session) shellCommand(line string) program {
	return func() (string, []string, error) {
		shell, err := s.shell()
		return shell.Path, []string{shell.Name, "-c", line}, err
	}
}

// direct runs a program without a shell, which need not exist.
func (s *session) direct(argv []string) program {
	return func() (string, []string, error) {
		path, err := passwd.LookPath(argv[0], s.environment()["PATH"])
		if err != nil {
			err = fmt.Errorf("cannot run the command: %w", err)
		}
		return path, argv, err
	}
}

func (s *session) shell() (passwd.Shell, error) {
	return s.account.LoginShell(s.environment()["PATH"])
}

func (s *session) sftpServer() (string, []string, error) {
	return s.server.Sftp[0], s.server.Sftp, nil
}

func (s *session) udpServer() (string, []string, error) {
	return s.server.UDP[0], s.server.UDP, nil
}

// run runs a program to its end and reports to the client: output first, then exit status, EOF, close.
func (s *session) run(find program) {
	path, argv, err := find()
	var ended exit
	switch {
	case errors.Is(err, errPrinted):
	case err != nil:
		ended = s.fail(exitNotFound, err)
	case s.kept != nil:
		defer s.server.Activity.Terminal()()
		ended = s.runOnKept(path, argv)
	case s.terminal != nil:
		defer s.server.Activity.Terminal()()
		ended = s.runOnTerminal(path, argv)
	default:
		ended = s.runOnPipes(path, argv)
	}
	ended.tell(s.channel)
	_ = s.channel.CloseWrite()
	_ = s.channel.Close()
}

// fail reports in the session itself why nothing runs: clients show no reason for a refused request.
func (s *session) fail(code uint32, err error) exit {
	s.log.Info("cannot run", "error", err)
	_, _ = fmt.Fprintf(s.channel.Stderr(), "netvps: %v\r\n", err)
	return exit{code: code}
}

func (s *session) notStarted(path string, err error) exit {
	code := uint32(exitCannotRun)
	if errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return s.fail(code, fmt.Errorf("cannot run %s: %w", path, err))
}

// launch starts a program as the account, in its home directory if it may enter that.
func (s *session) launch(path string, argv []string, stdin, stdout, stderr *os.File) (*exec.Cmd, error) {
	attributes := &syscall.SysProcAttr{Setsid: true, Setctty: s.terminal != nil, Credential: s.account.Credential()}
	dir := s.account.WorkingDir()
	if dir != s.account.Home {
		_, err := os.Stat(s.account.Home)
		s.sayNoHome(cmp.Or(err, error(syscall.ENOTDIR)))
	}
	for {
		cmd := &exec.Cmd{
			Path: path, Args: argv, Env: s.environment().List(), Dir: dir,
			Stdin: stdin, Stdout: stdout, Stderr: stderr, SysProcAttr: attributes,
		}
		err := cmd.Start()
		switch {
		case errors.Is(err, syscall.EACCES) && dir != "/":
			dir = "/" // a home directory that its owner may not enter
			s.sayNoHome(err)
		case errors.Is(err, syscall.EPERM) && attributes.Credential != nil && s.account.IsSelf():
			attributes.Credential = nil // no need, and no capability, to change users
		case errors.Is(err, syscall.EPERM) && attributes.Credential != nil:
			return nil, passwd.ErrMayNotChangeUser
		default:
			return cmd, err
		}
	}
}

// sayNoHome says that a login starts in the root folder, in the words of OpenSSH. Commands without a shell need no home.
func (s *session) sayNoHome(err error) {
	var number syscall.Errno
	if s.exact || !errors.As(err, &number) {
		return
	}
	why := number.Error()
	text := fmt.Sprintf("Could not chdir to home directory %s: %s\n", s.account.Home, strings.ToUpper(why[:1])+why[1:])
	if s.terminal != nil {
		_, _ = fmt.Fprint(s.channel, strings.ReplaceAll(text, "\n", "\r\n"))
		return
	}
	_, _ = fmt.Fprint(s.channel.Stderr(), text)
}
