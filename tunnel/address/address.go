// Package address waits for the address of a session that moved to another runner with it.
//
// The container engine gives such a container an address of the new runner's subnet, and the runner replaces that just
// after the start. Nothing of the session starts before, so that it sees one address only.
package address

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	poll    = 5 * time.Millisecond
	maxFile = 64 << 10
	maxSize = 1 << 20
)

// Moved is the content of the runner's file: the session's address, and the one that the engine gave. There is no file
// where the two are the same.
type Moved struct {
	Address      string `json:"address"`
	LocalAddress string `json:"local_address"`
}

// Waiter waits as the runner's file says, and corrects the hosts file, in which the engine wrote its address.
type Waiter struct {
	File, Hosts string
	Patience    time.Duration
	Log         *slog.Logger

	addresses func() ([]net.Addr, error) // nil: those of this machine
}

// Wait returns when the session has its address. Without the runner, the session starts after Patience all the same.
func (w *Waiter) Wait() {
	moved, err := read(w.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = w.await(moved.Address)
	}
	if err == nil {
		err = replace(w.Hosts, moved)
	}
	if err != nil {
		w.Log.Warn("the session starts without the address that it moved with", "error", err)
	}
}

func (w *Waiter) await(address string) error {
	if w.addresses == nil {
		w.addresses = net.InterfaceAddrs
	}
	for deadline := time.Now().Add(w.Patience); ; time.Sleep(poll) {
		found, err := w.addresses()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(found, func(one net.Addr) bool { return strings.HasPrefix(one.String(), address+"/") }) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the runner has not given it within " + w.Patience.String())
		}
	}
}

func read(path string) (moved Moved, err error) {
	file, err := os.Open(path)
	if err != nil {
		return moved, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return moved, err
	}
	if err := json.Unmarshal(content, &moved); err != nil {
		return moved, err
	}
	if net.ParseIP(moved.Address) == nil || net.ParseIP(moved.LocalAddress) == nil {
		return moved, errors.New("bad addresses in " + path)
	}
	return moved, nil
}

// replace changes the lines of the local address, in place: the file is a mount and cannot be replaced.
func replace(path string, moved Moved) error {
	status, err := os.Stat(path)
	if err != nil {
		return err
	}
	if status.Size() > maxSize {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	for number, line := range lines {
		if rest, found := strings.CutPrefix(line, moved.LocalAddress); found && strings.IndexAny(rest, " \t") == 0 {
			lines[number] = moved.Address + rest
		}
	}
	after := strings.Join(lines, "\n")
	if after == string(content) {
		return nil
	}
	return os.WriteFile(path, []byte(after), 0o644)
}
