package pid1

import (
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netvps/tunnel/environ"
	"netvps/tunnel/passwd"
)

const (
	commandRestartMin = 100 * time.Millisecond
	commandRestartMax = time.Minute
	// commandSteady is how long a run must last for the backoff to start over.
	commandSteady = 10 * time.Second
)

// Command is the image's own command, run as Docker does with the restart policy "on-failure": as the image's USER, in
// its WORKDIR, and again after a failure, with a backoff of up to a minute.
type Command struct {
	Argv []string // may be empty: then there is none
	User string   // "USER[:GROUP]", names of the image's passwd and group or numbers; "" is root
	Dir  string   // made if it is missing

	child
	delay   time.Duration
	restart <-chan time.Time
}

// start runs the command; if that fails, it is retried like a failing command: the owner may fix it.
func (c *Command) start(log *slog.Logger) {
	if len(c.Argv) == 0 {
		return
	}
	if err := c.launch(); err != nil {
		log.Error("cannot run the image's command", "command", c.Argv[0], "user", c.User, "folder", c.Dir,
			"error", err, "again_in", c.again())
	}
}

func (c *Command) launch() error {
	c.started = time.Now()
	attributes := &syscall.ProcAttr{Env: environ.All(), Dir: c.Dir}
	if c.User != "" {
		database := passwd.Database{Root: "/"}
		account, err := database.Resolve(c.User)
		if err != nil {
			return err
		}
		if !account.IsSelf() {
			attributes.Sys = &syscall.SysProcAttr{Credential: account.Credential()}
			own(account)
		}
		attributes.Env = withHome(attributes.Env, database, account)
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	path, err := passwd.LookPath(c.Argv[0], environ.Value(attributes.Env, "PATH"))
	if err != nil {
		return err
	}
	return c.child.start(path, c.Argv, attributes)
}

// ended records how the command ended. After a failure it kills what is left in its process group, which would otherwise
// run twice after the next start.
func (c *Command) ended(status syscall.WaitStatus, stopping bool, log *slog.Logger) {
	pid := c.pid
	c.pid = 0
	if stopping || status.Exited() && status.ExitStatus() == 0 {
		log.Info("the image's command ended", "status", describe(status))
		return
	}
	if pid > 1 { // 0 and 1 stand for other groups than the command's
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	log.Error("the image's command failed", "status", describe(status), "again_in", c.again())
}

// again schedules a restart of the command and returns the pause.
func (c *Command) again() time.Duration {
	if time.Since(c.started) > commandSteady {
		c.delay = 0
	}
	c.delay = min(max(2*c.delay, commandRestartMin), commandRestartMax)
	c.restart = time.After(c.delay)
	return c.delay
}

// withHome sets HOME to the account's, unless the image sets it: Docker set it to root's.
func withHome(env []string, database passwd.Database, account passwd.Account) []string {
	root, err := database.Resolve("root")
	if home := environ.Value(env, "HOME"); err != nil || home != "" && home != root.Home && home != "/root" && home != "/" {
		return env
	}
	return append(env, "HOME="+account.Home)
}

// own gives the container's standard files to the account, as Docker does: programs open /dev/stdout again.
func own(account passwd.Account) {
	var null unix.Stat_t
	_ = unix.Stat("/dev/null", &null)
	for fd := range 3 {
		var file unix.Stat_t
		if unix.Fstat(fd, &file) == nil && file.Rdev != null.Rdev {
			_ = unix.Fchown(fd, int(account.UID), -1) // not supported by every type of file
		}
	}
}
