package relay

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A message to or from the maker of a pair: the length of what follows (four bytes), its kind, the side, and its body.
const (
	kindStart    = 'S' // start, as JSON; first, once
	kindPacket   = 'P' // a payload to send; received ones begin with their sequence number
	kindRecvKeys = 'R' // keys, as JSON, after a received NEWKEYS
	kindSendKeys = 'W' // keys, as JSON, after a NEWKEYS to send
	kindEnd      = 'E' // half-close once everything is sent, and drop further input
	kindAbort    = 'X' // close

	kindDue    = 'D' // new keys are due
	kindLost   = 'L' // a cause and a text: the side is not read any more
	kindCounts = 'C' // bytes passed from the client, and from the agent
)

// Causes of kindLost.
const (
	endOfFile byte = iota
	connectionError
	protocolError
	macError
)

const (
	controlLimit = 8 << 20
	firstWait    = 10 * time.Second
)

// control is the connection to the maker of a pair.
type control struct {
	file *os.File
	in   *bufio.Reader
	mu   sync.Mutex
	out  []byte
}

func newControl(file *os.File) *control { return &control{file: file, in: bufio.NewReader(file)} }

// read returns the next message; its body is a copy.
func (c *control) read() (kind, index byte, body []byte, err error) {
	var head [6]byte
	if _, err = io.ReadFull(c.in, head[:]); err != nil {
		return 0, 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size < 2 || size > controlLimit {
		return 0, 0, nil, fmt.Errorf("a message of %d bytes", size)
	}
	body = make([]byte, size-2)
	_, err = io.ReadFull(c.in, body)
	return head[4], head[5], body, err
}

func (c *control) first(into *start) error {
	_ = c.file.SetReadDeadline(time.Now().Add(firstWait))
	kind, _, body, err := c.read()
	if err != nil {
		return err
	}
	_ = c.file.SetReadDeadline(time.Time{})
	if kind != kindStart {
		return fmt.Errorf("a first message of kind %q", kind)
	}
	return json.Unmarshal(body, into)
}

// serve handles messages until the connection ends, and returns nil then.
func (c *control) serve(p *pair) error {
	for {
		kind, index, body, err := c.read()
		switch {
		case err == io.EOF || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.ECONNRESET):
			return nil
		case err != nil:
			return err
		}
		if err := p.take(kind, index, body); err != nil {
			return err
		}
	}
}

func (c *control) write(kind, index byte, parts ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := 2
	for _, part := range parts {
		size += len(part)
	}
	c.out = append(binary.BigEndian.AppendUint32(c.out[:0], uint32(size)), kind, index)
	for _, part := range parts {
		c.out = append(c.out, part...)
	}
	_, err := c.file.Write(c.out)
	if cap(c.out) > 4096 {
		c.out = nil
	}
	return err
}

func (c *control) packet(index byte, seq uint32, payload []byte) error {
	return c.write(kindPacket, index, binary.BigEndian.AppendUint32(nil, seq), payload)
}

// What follows is dropped if the maker is gone: then the pair ends anyhow.

func (c *control) rekeyDue(index byte) { _ = c.write(kindDue, index) }

func (c *control) lost(index, cause byte, text string) {
	_ = c.write(kindLost, index, []byte{cause}, []byte(text))
}

func (c *control) counts(found [2]uint64) {
	body := binary.BigEndian.AppendUint64(nil, found[0])
	_ = c.write(kindCounts, 0, binary.BigEndian.AppendUint64(body, found[1]))
}
