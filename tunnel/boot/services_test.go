package boot

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenRCStartsItsRunlevelInPlaceOfInitScripts(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{
		"sbin/openrc": 0o755, "etc/runlevels/default/sshd": 0o755, "etc/rc2.d/S01sshd": 0o755, "etc/rc.local": 0o755,
	})
	if run(path, true); ran() != "openrc default, rc.local" {
		t.Fatal(ran())
	}
	if level, err := os.ReadFile(filepath.Join(path, "run/openrc/softlevel")); err != nil || string(level) != "sysinit\n" {
		t.Fatal(string(level), err)
	}
}

func TestOpenRCWithNothingEnabledLeavesInitScriptsTheirTurn(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{"sbin/openrc": 0o755, "etc/rc2.d/S01cron": 0o755})
	if run(path, true); ran() != "S01cron start" {
		t.Fatal(ran())
	}
}

func TestASupervisorIsFoundByItsServices(t *testing.T) {
	for name, one := range map[string]struct {
		files map[string]os.FileMode
		want  string
	}{
		"runit":         {map[string]os.FileMode{"usr/bin/runsvdir": 0o755, "etc/service/web/run": 0o755}, "usr/bin/runsvdir -P etc/service"},
		"of busybox":    {map[string]os.FileMode{"sbin/runsvdir": 0o755, "var/service/web/run": 0o755}, "sbin/runsvdir -P var/service"},
		"no service":    {map[string]os.FileMode{"usr/bin/runsvdir": 0o755, "etc/service/README": 0o644}, ""},
		"not to be run": {map[string]os.FileMode{"usr/bin/runsvdir": 0o755, "etc/service/web/run": 0o644}, ""},
		"no program":    {map[string]os.FileMode{"etc/service/web/run": 0o755}, ""},
		"s6":            {map[string]os.FileMode{"bin/s6-svscan": 0o755, "etc/services.d/web/run": 0o755}, "bin/s6-svscan etc/services.d"},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := root(t, one.files)
			var found []string
			for _, each := range supervisors {
				found = append(found, each.find(path)...)
			}
			if got := strings.ReplaceAll(strings.Join(found, " "), path+"/", ""); got != one.want {
				t.Fatal(got)
			}
		})
	}
}

func TestASupervisorThatEndsIsStartedAgainAndTheOthersDoNotWaitForIt(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{
		"usr/bin/runsvdir": 0o755, "etc/service/web/run": 0o755, "etc/rc.local": 0o755,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		(&Starter{Root: path, Services: true, Patience: time.Minute, Log: slog.New(slog.DiscardHandler)}).Run(ctx)
		close(ended)
	}()
	deadline := time.After(10 * time.Second)
	for strings.Count(ran(), "runsvdir -P") < 2 || !strings.Contains(ran(), "rc.local") {
		select {
		case <-deadline:
			t.Fatal(ran())
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	<-ended
}

func TestTheServicesOfAnImageWhoseCommandRunsAreItsOwn(t *testing.T) {
	path, ran := root(t, map[string]os.FileMode{
		"sbin/openrc": 0o755, "etc/runlevels/default/sshd": 0o755, "usr/bin/runsvdir": 0o755, "etc/service/web/run": 0o755,
	})
	if run(path, false); ran() != "" {
		t.Fatal(ran())
	}
}
