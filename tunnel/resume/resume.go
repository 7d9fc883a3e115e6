// Package resume keeps connections whose carriers break: a client that comes back goes on where it was. Both ends count
// bytes, and keep what the other one has not confirmed.
//
// A carrier has frames, each a kind (one byte), a length (four bytes, big-endian), and a body:
//
//	A  two numbers of bytes (eight bytes each): what its sender has received, and what of that was read by its user; first
//	   on each carrier, and now and then. The peer may send 4 MiB beyond the second one, so that a carrier is always
//	   read: what it has for one direction never waits for the other.
//	D  bytes
//	E  no more bytes follow from the client
//	C  the connection is over, with a reason or none; answered by another C
//
// The client's side is netvps/domain/resumable.py.
package resume

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// hold is how long a connection is kept that nothing carries.
	hold = 2 * time.Minute
	// maxConns bounds the connections of a session.
	maxConns = 256

	idSize, keySize   = 16, 32
	opening, resuming = 1, 2
)

var (
	errGone    = errors.New("the connection is not known here: it ended, or the session was restarted; connect again")
	errUsed    = errors.New("that proof was used before: connect again")
	errTooMany = errors.New("the session keeps too many connections: close some")
	errFormat  = errors.New("the request to keep a connection is malformed: update netvps on the client")
)

// Registry holds the connections of a session.
type Registry struct {
	Serve func(net.Conn) // serves a connection to its end
	Log   *slog.Logger
	// Hold is how long a connection is kept that nothing carries; 0 for the usual time.
	Hold time.Duration

	mu    sync.Mutex
	conns map[name]*Conn
}

// name has the user in it, so that a user's guess never meets the connection of another one.
type name struct {
	user string
	id   [idSize]byte
}

// Attach finds or makes the connection that a client asks for; the caller carries it, or drops it if it cannot. Each
// proof counts once, whether it is carried then or not.
func (r *Registry) Attach(user string, attachment []byte, from net.Addr) (*Conn, error) {
	if len(attachment) < 1+idSize {
		return nil, errFormat
	}
	called := name{user, [idSize]byte(attachment[1:])}
	rest := attachment[1+idSize:]
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case attachment[0] == opening && len(rest) == keySize:
		return r.open(called, rest, from)
	case attachment[0] == resuming && len(rest) == 8+sha256.Size:
		found := r.conns[called]
		if found == nil || !hmac.Equal(proof(found.key, attachment[:1+idSize+8]), rest[8:]) {
			return nil, errGone
		}
		number := binary.BigEndian.Uint64(rest)
		if number <= found.resumed {
			return nil, errUsed
		}
		found.resumed = number
		return found, nil
	default:
		return nil, errFormat
	}
}

func (r *Registry) open(called name, key []byte, from net.Addr) (*Conn, error) {
	if len(r.conns) >= maxConns {
		return nil, errTooMany
	}
	if r.conns[called] != nil {
		return nil, errUsed
	}
	if r.conns == nil {
		r.conns = map[name]*Conn{}
	}
	made := newConn(from)
	made.key, made.hold = append([]byte(nil), key...), r.Hold
	if made.hold == 0 {
		made.hold = hold
	}
	made.over = func(reason string) {
		r.mu.Lock()
		delete(r.conns, called)
		r.mu.Unlock()
		r.Log.Info("kept connection ended", "user", called.user, "reason", reason)
	}
	made.serve = r.Serve
	r.conns[called] = made
	return made, nil
}

// proof is what a client that has the key sends with the beginning of its request.
func proof(key, begin []byte) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(begin)
	return mac.Sum(nil)
}
