// Command agent runs in every session: PID 1, SSH server and tunnel client, in one static program.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"netvps/tunnel/address"
	"netvps/tunnel/boot"
	"netvps/tunnel/front"
	"netvps/tunnel/nv"
	"netvps/tunnel/pid1"
	"netvps/tunnel/probe"
	"netvps/tunnel/relay"
	"netvps/tunnel/rundir"
	"netvps/tunnel/sftp"
	"netvps/tunnel/udp"
)

// version is set by the linker.
var version = "dev"

const usage = `usage:
  agent init [flags] [-- COMMAND ARG…]   PID 1 of a session: reap, keep the agent running, and COMMAND until it succeeds
  agent boot [-no-services]              start what is enabled to start with the session (init does so)
  agent pre-snapshot                     run the owner's hooks; print a line for each that failed (the runner does so)
  agent serve [flags]                    the agent proper: SSH server and tunnel (init starts it)
  agent sftp-server                      serve files on standard input and output (serve starts it)
  agent udp-relay                        relay datagrams on standard input and output (serve starts it)
  agent probe [flags] PORT               wait until a port of the session is ready (a deployment does so)
  agent relay                            pass SSH messages between connections, beside a gateway (which starts it)
  agent front                            serve the tunnel's port before gRPC, beside a server (which starts it)
  agent version`

// places are the flags of init and serve.
type places struct {
	runDir, privateDir, stateDir, listen string
	user, workDir                        string
	headStart                            time.Duration
}

const noServices = "-no-services"

// commandHeadStart is how long the image's command has port 22 to itself, if it needs it.
const commandHeadStart = 15 * time.Second

// addressPatience is how long a session that moved waits for the runner to give it its address.
const addressPatience = 10 * time.Second

func main() {
	if filepath.Base(os.Args[0]) == "nv" {
		os.Exit(nv.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command\n%s", usage)
	}
	switch args[0] {
	case "init":
		where, command := parse(args)
		if len(command) > 0 {
			where.headStart = commandHeadStart
		}
		moved := &address.Waiter{
			File: rundir.Dir(where.runDir).Path(rundir.AddressFile), Hosts: "/etc/hosts", Patience: addressPatience,
			Log: logger(),
		}
		first := &pid1.Init{
			Agent: where.argv("serve"), Boot: []string{os.Args[0], "boot"}, Log: logger(), Before: moved.Wait, RunDir: "/run",
			Command: pid1.Command{Argv: command, User: where.user, Dir: where.workDir},
		}
		if len(command) > 0 {
			first.Boot = append(first.Boot, noServices)
		}
		return first.Run()
	case "boot":
		boot.New(!slices.Contains(args, noServices), logger()).Run(context.Background())
		return nil
	case "pre-snapshot":
		output := boot.SessionLog()
		log := slog.New(slog.NewTextHandler(output, nil))
		for _, failure := range (&boot.Hooks{Root: "/", Output: output, Log: log}).PreSnapshot() {
			fmt.Println(failure)
		}
		return nil
	case "serve":
		where, _ := parse(args)
		return serve(where, logger())
	case "sftp-server":
		return sftp.Serve()
	case "udp-relay":
		return udp.Serve()
	case "probe":
		return probe.Run(args[1:])
	case "relay":
		return relay.Serve(int(os.Stdin.Fd()), logger())
	case "front":
		return front.Serve(int(os.Stdin.Fd()), logger())
	case "version":
		fmt.Println(version)
		return nil
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

func parse(args []string) (where places, command []string) {
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	flags.StringVar(&where.runDir, "run-dir", "/.netvps/run", "runtime `folder`, written by the runner")
	flags.StringVar(&where.privateDir, "private-dir", "/.netvps/private", "`folder` of the agent's data while the container runs")
	flags.StringVar(&where.stateDir, "state-dir", "/.netvps/state", "`folder` of the host key, in the container's own file system")
	flags.StringVar(&where.listen, "listen", ":22", "`address` of the SSH server; empty for none")
	flags.StringVar(&where.user, "user", "", "`USER[:GROUP]` of COMMAND, as in a Dockerfile; root by default")
	flags.StringVar(&where.workDir, "work-dir", "/", "working `folder` of COMMAND")
	flags.DurationVar(&where.headStart, "head-start", 0, "`time` for another server to take the port of -listen first")
	_ = flags.Parse(args[1:]) // ExitOnError
	return where, flags.Args()
}

func (p places) argv(command string) []string {
	return []string{os.Args[0], command, "-run-dir", p.runDir, "-private-dir", p.privateDir, "-state-dir", p.stateDir,
		"-listen", p.listen, "-head-start", p.headStart.String()}
}

func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stdout, nil)) }
