package nv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const usage = `usage:
  nv keep TIME   keep this session awake for that time: 30m, 2h, 1h30m (at most 24h); nv keep 0 ends that
  nv sleep       stop this session now; the next login starts it again
  nv snapshot    take a snapshot of its files
  nv status      say what keeps it awake, and when it is stopped
`

const maxAnswer = 64 << 10

// Exit codes: as those of netvps.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Main is the program nv; it returns the exit code.
func Main(args []string, out, problems io.Writer) int { return run(Socket, args, out, problems) }

func run(socket string, args []string, out, problems io.Writer) int {
	asked, err := parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(problems, "nv: %v\n%s", err, usage)
		return exitUsage
	}
	found, err := ask(socket, asked)
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(problems, "nv:", err)
		return exitError
	case found.Failed:
		_, _ = fmt.Fprintln(problems, "nv:", found.Text)
		return exitError
	}
	_, _ = fmt.Fprintln(out, found.Text)
	return exitOK
}

func parse(args []string) (asked request, err error) {
	if len(args) == 0 {
		return asked, errors.New("no command")
	}
	asked.Kind = args[0]
	rest := args[1:]
	switch asked.Kind {
	case keep:
		if len(rest) != 1 {
			return asked, errors.New("keep needs one time, for example nv keep 2h")
		}
		asked.Seconds, err = seconds(rest[0])
		return asked, err
	case sleep, snapshot, status:
		if len(rest) > 0 {
			return asked, fmt.Errorf("%s takes no argument", asked.Kind)
		}
		return asked, nil
	}
	return asked, fmt.Errorf("unknown command %q", asked.Kind)
}

// seconds parses a time as netvps does: 30m, 2h, 1h30m; a number alone is seconds.
func seconds(text string) (int64, error) {
	if number, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int64(number), nil
	}
	length, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || length < 0 {
		return 0, fmt.Errorf("%q is not a time: give for example 30m, 2h or 1h30m", text)
	}
	return int64(length / time.Second), nil
}

func ask(socket string, asked request) (found response, err error) {
	conn, err := net.DialTimeout("unix", socket, readTime)
	if err != nil {
		return found, fmt.Errorf("cannot reach the session's agent: %w; try again in a few seconds", err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(answerTime + 2*readTime))
	if err := json.NewEncoder(conn).Encode(asked); err != nil {
		return found, fmt.Errorf("cannot ask the session's agent: %w; try again", err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, maxAnswer)).Decode(&found); err != nil {
		return found, fmt.Errorf("the session's agent did not answer: %w; try again", err)
	}
	return found, nil
}
