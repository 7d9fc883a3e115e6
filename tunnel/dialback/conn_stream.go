package dialback

import (
	"fmt"
	"io"
	"time"

	"netvps/tunnel/api"
)

// keptBuffer is the size of the send buffer that an idle connection keeps.
const keptBuffer = 64 << 10

// send writes frames until both directions have ended or the stream is broken.
func (c *Conn) send() {
	// Ends the server's handler, also one that does not end by itself.
	defer func() { _ = c.stream.CloseSend(); time.AfterFunc(linger, c.cancel) }()
	var buffer, sending []byte // sending is the rest of buffer; more can be written to c.out meanwhile
	for {
		c.mu.Lock()
		var frame *api.DialBackRequest
		for {
			if len(sending) == 0 {
				buffer, c.out = c.out, buffer[:0]
				sending = buffer
			}
			if frame, sending = c.next(sending); frame != nil || c.over() {
				break
			}
			if len(sending) == 0 && cap(c.out) > keptBuffer {
				c.out = nil
			}
			c.changed.Wait()
		}
		c.changed.Broadcast() // there may be room in c.out
		c.mu.Unlock()
		if frame == nil || c.stream.Send(frame) != nil { // the receiver gets the error
			return
		}
		if frame.GetReset_() != "" {
			return
		}
	}
}

// next chooses the frame to send and returns the rest of sending; nil if there is nothing to send.
func (c *Conn) next(sending []byte) (*api.DialBackRequest, []byte) {
	switch n := min(uint64(len(sending)), c.credit, maxFrame); {
	case c.err != nil:
		return nil, sending
	case c.breakFor != "":
		return &api.DialBackRequest{Frame: &api.DialBackRequest_Reset_{Reset_: c.breakFor}}, nil
	case c.taken >= creditBatch && !c.inEOF:
		credit := c.taken
		c.taken, c.granted = 0, c.granted+credit
		return &api.DialBackRequest{Frame: &api.DialBackRequest_Credit{Credit: uint64(credit)}}, sending
	case n > 0:
		c.credit -= n
		return &api.DialBackRequest{Frame: &api.DialBackRequest_Data{Data: sending[:n]}}, sending[n:]
	case c.outEOF && len(sending) == 0 && !c.sentEOF:
		c.sentEOF = true
		return &api.DialBackRequest{Frame: &api.DialBackRequest_Eof{Eof: true}}, nil
	default:
		return nil, sending
	}
}

func (c *Conn) over() bool { return c.err != nil || c.sentEOF && c.inEOF }

// receive reads frames until the server ends the stream.
func (c *Conn) receive() {
	defer c.cancel()
	for {
		message, err := c.stream.Recv()
		if err == nil {
			err = c.accept(message)
		}
		if err != nil {
			c.finish(err)
			return
		}
	}
}

// accept handles one frame; an error ends the stream.
func (c *Conn) accept(message *api.DialBackResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	switch frame := message.GetFrame().(type) {
	case *api.DialBackResponse_Data:
		c.acceptData(frame.Data)
	case *api.DialBackResponse_Credit:
		c.credit += frame.Credit
	case *api.DialBackResponse_Eof:
		c.inEOF = true
	case *api.DialBackResponse_Reset_:
		c.in = nil
		return fmt.Errorf("reset by peer: %s", frame.Reset_)
	}
	return nil
}

func (c *Conn) acceptData(data []byte) {
	if c.granted -= len(data); c.granted < 0 && c.breakFor == "" {
		c.breakFor = "more data than credit"
	}
	switch {
	case c.breakFor != "" || len(data) == 0:
	case c.closed:
		c.taken += len(data)
	default:
		c.in = append(c.in, data)
	}
}

func (c *Conn) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == io.EOF && !c.over() {
		err = io.ErrUnexpectedEOF // the server ended the stream early
	}
	c.err = err
	c.changed.Broadcast()
}
