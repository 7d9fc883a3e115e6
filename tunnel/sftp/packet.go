package sftp

import (
	"encoding/binary"

	"golang.org/x/crypto/ssh"
)

// Flags of attributes (draft-ietf-secsh-filexfer-02, 5).
const (
	hasSize  = 1
	hasOwner = 2
	hasMode  = 4
	hasTimes = 8
)

// attributes are those of a file that a client sets; extended ones are ignored.
type attributes struct {
	flags        uint32
	size         uint64
	uid, gid     uint32
	mode         uint32
	atime, mtime uint32
}

// parse reports whether the bytes hold the attributes that their flags announce.
func (a *attributes) parse(data []byte) bool {
	ok := true
	take := func(size int) uint64 {
		if len(data) < size {
			ok = false
			return 0
		}
		var padded [8]byte
		copy(padded[8-size:], data[:size])
		data = data[size:]
		return binary.BigEndian.Uint64(padded[:])
	}
	a.flags = uint32(take(4))
	if a.flags&hasSize != 0 {
		a.size = take(8)
	}
	if a.flags&hasOwner != 0 {
		a.uid, a.gid = uint32(take(4)), uint32(take(4))
	}
	if a.flags&hasMode != 0 {
		a.mode = uint32(take(4))
	}
	if a.flags&hasTimes != 0 {
		a.atime, a.mtime = uint32(take(4)), uint32(take(4))
	}
	return ok
}

func packet(kind byte, body []byte) []byte {
	whole := binary.BigEndian.AppendUint32(nil, uint32(len(body)+1))
	return append(append(whole, kind), body...)
}

func status(id uint32, err error) []byte {
	code, message := statusOf(err)
	return packet(typeStatus, ssh.Marshal(struct {
		ID, Code          uint32
		Message, Language string
	}{id, code, message, ""}))
}

// name answers with one path, without attributes.
func name(id uint32, path string) []byte {
	return packet(typeName, ssh.Marshal(struct {
		ID, Count  uint32
		Name, Long string
		Flags      uint32
	}{id, 1, path, path, 0}))
}
