package x11

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// familyLocal is this host, however it is reached (Xauth.h).
const familyLocal = 256

const (
	maxAuthority = 1 << 20
	lockTime     = 2 * time.Second  // to wait for xauth
	lockDead     = 10 * time.Second // after which a lock counts as stale
	lockPause    = 50 * time.Millisecond
)

var errMalformed = errors.New("malformed")

// entry is one of an Xauthority file: family, then four counted strings, all in network byte order.
type entry struct {
	family                      uint16
	address, number, name, data []byte
}

func (e entry) marshal() []byte {
	out := binary.BigEndian.AppendUint16(nil, e.family)
	for _, field := range [][]byte{e.address, e.number, e.name, e.data} {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(field))), field...)
	}
	return out
}

func parseEntries(text []byte) (entries []entry, err error) {
	for len(text) > 0 {
		var e entry
		if len(text) < 2 {
			return nil, errMalformed
		}
		e.family, text = binary.BigEndian.Uint16(text), text[2:]
		for _, field := range []*[]byte{&e.address, &e.number, &e.name, &e.data} {
			if len(text) < 2 {
				return nil, errMalformed
			}
			length := int(binary.BigEndian.Uint16(text))
			if len(text) < 2+length {
				return nil, errMalformed
			}
			*field, text = text[2:2+length], text[2+length:]
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Authorize adds a display's cookie to an Xauthority file, as `xauth add unix:NUMBER` does, replacing an older one. Call
// it with the rights of the account that owns the file.
func Authorize(file, hostname string, number int, request Request) error {
	unlock, err := lock(file)
	if err != nil {
		return err
	}
	defer unlock()
	added := entry{familyLocal, []byte(hostname), []byte(strconv.Itoa(number)), []byte(request.Protocol), request.Cookie}
	old, err := readAuthority(file)
	if err != nil {
		return err
	}
	text := added.marshal()
	for _, e := range old {
		if e.family != added.family || !bytes.Equal(e.address, added.address) || !bytes.Equal(e.number, added.number) {
			text = append(text, e.marshal()...)
		}
	}
	temporary := file + "-n" // xauth's name for it
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	handle, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = handle.Write(text)
	if err := errors.Join(err, handle.Close()); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return os.Rename(temporary, file)
}

func readAuthority(file string) ([]entry, error) {
	handle, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = handle.Close() }()
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxAuthority {
		return nil, fmt.Errorf("%s is no Xauthority file", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	entries, err := parseEntries(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it", file, err)
	}
	return entries, nil
}

// lock is XauLockAuth: a file "-c" with a second link "-l", which only one process can create.
func lock(file string) (unlock func(), err error) {
	created, linked := file+"-c", file+"-l"
	if info, err := os.Stat(created); err == nil && time.Since(info.ModTime()) > lockDead {
		_, _ = os.Remove(created), os.Remove(linked)
	}
	for deadline := time.Now().Add(lockTime); ; time.Sleep(lockPause) {
		handle, err := os.OpenFile(created, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = handle.Close()
			err = os.Link(created, linked)
		}
		if err == nil {
			return func() { _, _ = os.Remove(created), os.Remove(linked) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock of %s: %w", filepath.Base(file), err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s is locked: remove %s and %s if no xauth runs", file, created, linked)
		}
	}
}
