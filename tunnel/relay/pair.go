package relay

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// pair is two SSH connections, and the connection to the process that made it.
type pair struct {
	control *control
	sides   [2]*side
	tasks   sync.WaitGroup

	mu       sync.Mutex
	counted  time.Time
	reported [2]uint64
}

// start is the first message of a pair's maker: how both connections go on, the client's first.
type start struct {
	Sides [2]state `json:"sides"`
}

// state is that of a connection at the moment when it is handed over.
type state struct {
	Recv       keys    `json:"recv"`
	Send       keys    `json:"send"`
	RecvSeq    uint32  `json:"recv_seq"`
	SendSeq    uint32  `json:"send_seq"`
	Strict     bool    `json:"strict"`
	Limit      uint32  `json:"limit"`
	RekeyBytes uint64  `json:"rekey_bytes"`
	RekeyAfter float64 `json:"rekey_seconds"`
	Sent       uint64  `json:"sent"` // bytes since the last key exchange
	Skips      []byte  `json:"skips"`
	Rest       []byte  `json:"rest"`   // received, not handled
	Passed     uint64  `json:"passed"` // bytes of messages received for the other side
}

// maxLimit bounds the longest packet: it has to fit into a buffer.
const maxLimit = bufferSize - 1024

func newSide(p *pair, index byte, file *os.File, from state) (*side, error) {
	if from.Limit == 0 || from.Limit > maxLimit {
		return nil, fmt.Errorf("a limit of %d bytes", from.Limit)
	}
	open, err := from.Recv.codec()
	if err != nil {
		return nil, err
	}
	seal, err := from.Send.codec()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	made := &side{
		pair: p, index: index, file: file, raw: raw, skips: from.Skips, strict: from.Strict, limit: from.Limit,
		recvSeq: from.RecvSeq, open: open, newKeys: make(chan opener, 1), sealer: seal, sendSeq: from.SendSeq,
		rekey: rekey{
			bytes: from.RekeyBytes, after: time.Duration(from.RekeyAfter * float64(time.Second)),
			sent: from.Sent, since: time.Now(),
		},
	}
	made.room = sync.NewCond(&made.mu)
	made.passed.Store(from.Passed)
	return made, nil
}

// run serves a pair until its maker closes its connection, and closes all three.
func run(controlFile, client, agent *os.File) error {
	files := [2]*os.File{client, agent}
	p := &pair{control: newControl(controlFile)}
	defer func() { _ = controlFile.Close() }()
	var first start
	err := p.control.first(&first)
	for i := range files {
		if err == nil {
			p.sides[i], err = newSide(p, byte(i), files[i], first.Sides[i])
		}
	}
	if err != nil {
		_, _ = client.Close(), agent.Close()
		return err
	}
	p.sides[0].other, p.sides[1].other = p.sides[1], p.sides[0]
	for i, s := range p.sides {
		p.tasks.Go(func() { s.receive(first.Sides[i].Rest) })
	}
	err = p.control.serve(p)
	_ = controlFile.Close() // a reader may be writing to it
	for _, s := range p.sides {
		s.abort()
	}
	p.tasks.Wait()
	return err
}

// lost reports the end of a side.
func (p *pair) lost(s *side, err error) {
	p.count(true)
	cause, text := explain(err)
	p.control.lost(s.index, cause, text)
}

// count reports the numbers of passed bytes, once in a while or now.
func (p *pair) count(now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := [2]uint64{p.sides[0].passed.Load(), p.sides[1].passed.Load()}
	if found == p.reported || !now && time.Since(p.counted) < reportEvery {
		return
	}
	p.counted, p.reported = time.Now(), found
	p.control.counts(found)
}

// take handles a message of the maker.
func (p *pair) take(kind, index byte, body []byte) error {
	if int(index) >= len(p.sides) {
		return fmt.Errorf("a message of side %d", index)
	}
	s := p.sides[index]
	switch kind {
	case kindPacket:
		return s.say(body)
	case kindRecvKeys, kindSendKeys:
		var given keys
		if err := json.Unmarshal(body, &given); err != nil {
			return err
		}
		made, err := given.codec()
		if err != nil {
			return err
		}
		if kind == kindSendKeys {
			s.sendWith(made)
			return nil
		}
		select {
		case s.newKeys <- made:
		default: // it ends
		}
	case kindEnd:
		s.end()
	case kindAbort:
		s.abort()
	default:
		return fmt.Errorf("a message of kind %q", kind)
	}
	return nil
}
