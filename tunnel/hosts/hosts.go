// Package hosts preserves changes to /etc/hosts. Docker recreates that file at every start, and no image contains it; so
// changes to it are stored in the session's own file system and applied at the next start.
package hosts

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	keptFile = "hosts.json"
	maxSize  = 1 << 20
)

// changes are the lines that differ from those that Docker wrote at the last start.
type changes struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

// Keeper preserves the changes to one file, in a folder. Both belong to the session: errors are only logged.
type Keeper struct {
	File, StateDir string
	Log            *slog.Logger

	generated []string
}

// Restore applies the stored changes. It may be called again in the same run of the container.
func (k *Keeper) Restore() error {
	now, err := lines(k.File)
	if err != nil {
		return err
	}
	kept := k.load()
	k.generated = without(now, kept.Added)
	k.generated = append(k.generated, without(kept.Removed, k.generated)...) // removed already, in the same run
	wanted := append(without(k.generated, kept.Removed), kept.Added...)
	if slices.Equal(now, wanted) {
		return nil
	}
	// In place: the file is a mount and cannot be replaced.
	return os.WriteFile(k.File, []byte(strings.Join(wanted, "\n")+"\n"), 0o644)
}

// Save stores the present changes.
func (k *Keeper) Save() error {
	now, err := lines(k.File)
	if err != nil {
		return err
	}
	made := changes{Added: without(now, k.generated), Removed: without(k.generated, now)}
	if kept := k.load(); slices.Equal(kept.Added, made.Added) && slices.Equal(kept.Removed, made.Removed) {
		return nil
	}
	content, err := json.Marshal(made)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.StateDir, 0o700); err != nil {
		return err
	}
	part := k.path() + ".part"
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return err
	}
	return os.Rename(part, k.path())
}

// Run restores changes and then saves new ones, until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	if err := k.Restore(); err != nil {
		k.Log.Info("changes to the hosts file not restored", "error", err)
		return
	}
	k.follow(ctx)
}

// follow saves whenever the file is written.
func (k *Keeper) follow(ctx context.Context) {
	written, err := watch(ctx, k.File)
	if err != nil {
		k.Log.Info("changes to the hosts file are not kept", "error", err)
		return
	}
	for range written {
		if err := k.Save(); err != nil {
			k.Log.Info("changes to the hosts file not kept", "error", err)
		}
	}
}

// watch signals each write to the file, by inotify(7); once at the beginning and once at the end, too.
func watch(ctx context.Context, file string) (<-chan struct{}, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // uses the runtime's poller, so that Close ends a Read
	if _, err := syscall.InotifyAddWatch(fd, file, syscall.IN_MODIFY|syscall.IN_CLOSE_WRITE); err != nil {
		_ = events.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	written := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	go func() {
		defer close(written)
		defer stop()
		buffer := make([]byte, 4096)
		for {
			written <- struct{}{}
			if _, err := events.Read(buffer); err != nil {
				written <- struct{}{}
				return
			}
		}
	}()
	return written, nil
}

func (k *Keeper) path() string { return filepath.Join(k.StateDir, keptFile) }

// load returns nothing if nothing readable is stored.
func (k *Keeper) load() (kept changes) {
	content, err := os.ReadFile(k.path())
	if err == nil && json.Unmarshal(content, &kept) != nil {
		kept = changes{}
	}
	return kept
}

// lines returns the lines of a file, without empty ones.
func lines(file string) ([]string, error) {
	status, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if status.Size() > maxSize {
		return nil, &os.PathError{Op: "read", Path: file, Err: syscall.EFBIG}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := strings.Split(string(content), "\n")
	return slices.DeleteFunc(all, func(line string) bool { return strings.TrimSpace(line) == "" }), nil
}

// without returns the lines that are not among the others.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(line string) bool { return slices.Contains(others, line) })
}
