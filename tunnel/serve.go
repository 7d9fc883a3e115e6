package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/activity"
	"netvps/tunnel/api"
	"netvps/tunnel/dialback"
	"netvps/tunnel/environ"
	"netvps/tunnel/environment"
	"netvps/tunnel/faults"
	"netvps/tunnel/hosts"
	"netvps/tunnel/listen"
	"netvps/tunnel/nv"
	"netvps/tunnel/passwd"
	"netvps/tunnel/resume"
	"netvps/tunnel/rundir"
	"netvps/tunnel/sshd"
	"netvps/tunnel/welcome"
)

const (
	// bootPoll is the interval of checks for the boot file.
	bootPoll = 200 * time.Millisecond
	// activityEvery is the shortest interval of activity reports to the gateway.
	activityEvery = 10 * time.Second
	// agentPath is where the runner mounts this program.
	agentPath = "/.netvps/agent"
)

// serve runs the agent proper until SIGTERM, or until the folder is another session's: then init restarts it.
func serve(where places, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hostsKept := make(chan struct{})
	go func() {
		defer close(hostsKept)
		(&hosts.Keeper{File: "/etc/hosts", StateDir: where.stateDir, Log: log}).Run(ctx)
	}()
	defer func() { stop(); <-hostsKept }()
	dir := rundir.Dir(where.runDir)
	boot, err := awaitBoot(ctx, dir, log)
	if err != nil {
		return err
	}
	server, err := newServer(boot, where, log)
	if err != nil {
		return err
	}
	private := rundir.Dir(where.privateDir)
	config, err := private.Config()
	if err != nil {
		log.Warn("cannot read the stored config", "error", err)
	}
	if config == nil {
		config = &api.AgentConfig{} // no logins
	}
	server.Apply(config)
	if err := environment.KeepPath("/", environ.Get("PATH")); err != nil {
		log.Info("login shells may lose the image's PATH", "error", err)
	}
	server.Epoch = func() int64 { // read each time, as the runner may write a later one
		latest, err := dir.Boot()
		if err != nil {
			return boot.Epoch
		}
		return latest.Epoch
	}
	name, _ := os.Hostname() // Docker sets it to the session's name
	server.Greeting = welcome.Greeting(name)
	if err := welcome.Write(welcome.Path, name); err != nil {
		log.Info("no README", "path", welcome.Path, "error", err)
	}
	faults.Point("agent.before_listen")
	if where.listen != "" {
		own := &listen.Yielding{Address: where.listen, HeadStart: where.headStart, Serve: server.Serve, Log: log}
		go own.Run(ctx)
	}
	client := &dialback.Client{
		Dir: dir, Private: private, SessionUID: boot.SessionUID, Version: version, HostKey: publicKey(server.HostKey),
		ServeSSH: server.ServeConn, Kept: &resume.Registry{Serve: server.ServeConn, Log: log},
		Apply: server.Apply, Notify: server.Notify, Activity: server.Activity, Log: log,
		ActivityEvery: activityEvery,
	}
	go (&activity.Meter{Root: "/"}).Watch(ctx, server.Activity)
	inside := &nv.Server{Users: server.Users, Ask: client.Ask, Log: log}
	if err := nv.Install(nv.Program, agentPath); err != nil {
		log.Info("no nv", "path", nv.Program, "error", err)
	}
	go func() {
		if err := inside.Listen(ctx, nv.Socket); err != nil {
			log.Warn("nv does not work in this session", "error", err)
		}
	}()
	log.Info("agent started", "version", version, "session", boot.SessionUID, "epoch", boot.Epoch)
	return client.Run(ctx)
}

func newServer(boot rundir.Boot, where places, log *slog.Logger) (*sshd.Server, error) {
	hostKey, err := sshd.HostKey(boot.SessionUID, where.stateDir, where.privateDir)
	if err != nil {
		return nil, err
	}
	return &sshd.Server{
		SessionUID: boot.SessionUID, HostKey: hostKey, Users: passwd.Database{Root: "/"},
		Activity: &activity.Tracker{}, Environ: environ.All(), Sftp: []string{"/proc/self/exe", "sftp-server"},
		UDP: []string{"/proc/self/exe", "udp-relay"}, Log: log,
	}, nil
}

func publicKey(signer ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// awaitBoot waits for the runner to write the boot file.
func awaitBoot(ctx context.Context, dir rundir.Dir, log *slog.Logger) (rundir.Boot, error) {
	ticker := time.NewTicker(bootPoll)
	defer ticker.Stop()
	said := ""
	for {
		boot, err := dir.Boot()
		if err == nil {
			return boot, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("waiting for %s", dir.Path(rundir.BootFile))
		}
		if err.Error() != said {
			said = err.Error()
			log.Info("waiting to start", "reason", said)
		}
		select {
		case <-ctx.Done():
			return boot, ctx.Err()
		case <-ticker.C:
		}
	}
}
