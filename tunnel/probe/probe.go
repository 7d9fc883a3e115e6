// Package probe waits until a port of the session answers, for `netvps deploy apply`.
package probe

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	pause   = 250 * time.Millisecond // between two attempts
	attempt = 5 * time.Second        // for one answer
	longest = time.Hour
)

// Run waits as the arguments say: [-path PATH] [-timeout TIME] PORT. Its error is the last reason why PORT was not ready.
func Run(args []string) error {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	path := flags.String("path", "", "`PATH` that answers GET with a status below 400; empty: the port accepts")
	timeout := flags.Duration("timeout", time.Minute, "`time` after which it gives up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	port, err := strconv.ParseUint(flags.Arg(0), 10, 16)
	if err != nil || port == 0 || flags.NArg() != 1 {
		return fmt.Errorf("%q is not a port: give 1 to 65535", flags.Args())
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(*timeout, longest))
	defer cancel()
	address := net.JoinHostPort("127.0.0.1", strconv.FormatUint(port, 10))
	return Wait(ctx, address, *path)
}

// Wait returns once the address is ready, or the last reason why it was not when the context ends.
func Wait(ctx context.Context, address, path string) error {
	var last error
	for {
		err := check(ctx, address, path)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // an attempt that the end cut short says less than the one before
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(pause):
		}
	}
}

func check(ctx context.Context, address, path string) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if path == "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "netvps-probe")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	return nil
}

// client uses no proxy of the image's environment, and takes a redirect for the answer that it is.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
