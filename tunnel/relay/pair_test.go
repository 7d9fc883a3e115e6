package relay

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

func TestMessagesPassBothWaysInOrder(t *testing.T) {
	_, client, agent := aPair(t, nil)
	for _, size := range []int{0, 1, 15, 16, 17, 32 << 10, 200 << 10} {
		client.send(data(size))
		expect(t, agent.next(), data(size))
		agent.send(data(size))
		expect(t, client.next(), data(size))
	}
}

func TestWhatWasReceivedBeforeComesFirst(t *testing.T) {
	var all []byte
	_, client, agent := aPair(t, func(first *start) {
		before := &peer{seal: codecOf(first.Sides[0].Recv), sent: first.Sides[0].RecvSeq}
		for range 20 {
			all = append(all, before.encode(data(32<<10))...)
		}
		first.Sides[0].Rest = all[:len(all)-100]
	})
	if _, err := client.conn.Write(all[len(all)-100:]); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		expect(t, agent.next(), data(32<<10))
	}
}

func TestMessagesOfTheMakerAreNotPassed(t *testing.T) {
	m, client, agent := aPair(t, func(first *start) { first.Sides[1].Skips = []byte{80, 1} })
	client.send([]byte{msgIgnore, 0, 0, 0, 0})
	client.send([]byte{7, 1, 2})
	expect(t, within(t, m.packets), []byte{0, 0, 0, 0, 6, 7, 1, 2})
	m.say(kindPacket, 1, []byte{msgDisconnect, 9})
	expect(t, agent.next(), []byte{msgDisconnect, 9})
	agent.send([]byte{80, 1, 2})
	agent.send([]byte{80, 2})
	expect(t, client.next(), []byte{80, 2})
}

// exchange runs a key exchange on one side, with keys `number` and `number+1`; between is called in the midst of it.
func exchange(m *maker, p *peer, index, number byte, between func()) {
	m.t.Helper()
	m.say(kindPacket, index, []byte{msgKexInit})
	for payload := p.next(); payload[0] != msgKexInit; payload = p.next() {
		if payload[0] < firstPassed {
			m.t.Fatalf("message %d", payload[0])
		}
	}
	p.send([]byte{msgKexInit})
	between()
	p.send([]byte{msgNewKeys})
	p.seal, p.sent = codecOf(someKeys(number)), 0
	for {
		got := within(m.t, m.packets)
		if got[0] == index && got[5] == msgNewKeys {
			break
		}
	}
	m.sayJSON(kindRecvKeys, index, someKeys(number))
	m.say(kindPacket, index, []byte{msgNewKeys})
	m.sayJSON(kindSendKeys, index, someKeys(number+1))
	expect(m.t, p.next(), []byte{msgNewKeys})
	p.open, p.recv = codecOf(someKeys(number+1)), 0
}

func TestKeysAreExchangedWhileDataWaits(t *testing.T) {
	m, client, agent := aPair(t, nil)
	for round := range byte(3) {
		exchange(m, client, 0, 10+4*round, func() { agent.send(data(1000)) })
		expect(t, client.next(), data(1000))
		client.send(data(5))
		expect(t, agent.next(), data(5))
	}
}

func TestTwoExchangesAtOnceDoNotWaitForEachOther(t *testing.T) {
	m, client, agent := aPair(t, nil)
	m.say(kindPacket, 0, []byte{msgKexInit})
	m.say(kindPacket, 1, []byte{msgKexInit})
	const pieces, size = 64, 32 << 10
	for _, p := range []*peer{client, agent} {
		expect(t, p.next(), []byte{msgKexInit})
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range pieces { // in flight before the peer saw the exchange
				p.send(data(size))
			}
			p.send([]byte{msgKexInit})
		}()
		within(t, sent)
	}
	for index, p := range []*peer{client, agent} {
		for got := within(t, m.packets); got[0] != byte(index) || got[5] != msgKexInit; got = within(t, m.packets) {
			continue
		}
		m.say(kindPacket, byte(index), []byte{msgNewKeys})
		m.sayJSON(kindSendKeys, byte(index), someKeys(byte(20+index)))
		expect(t, p.next(), []byte{msgNewKeys})
		p.open, p.recv = codecOf(someKeys(byte(20+index))), 0
	}
	for _, p := range []*peer{client, agent} {
		for range pieces {
			expect(t, p.next(), data(size))
		}
	}
}

func TestNewKeysAreDueAfterBytes(t *testing.T) {
	m, client, agent := aPair(t, func(first *start) { first.Sides[1].RekeyBytes = 100_000 })
	for range 4 {
		client.send(data(30_000))
		agent.next()
	}
	if index := within(t, m.due); index != 1 {
		t.Fatalf("due of side %d", index)
	}
}

func TestAViolationEndsASideWithItsCause(t *testing.T) {
	for name, test := range map[string]struct {
		send func(*peer) []byte
		want byte
	}{
		"a wrong tag":        {func(p *peer) []byte { made := p.encode(data(9)); made[len(made)-1] ^= 1; return made }, macError},
		"a length of 2^32-1": {func(*peer) []byte { return bytes.Repeat([]byte{0xff}, 64) }, protocolError},
		"a length of 0":      {func(*peer) []byte { return make([]byte, 64) }, macError},
		"no payload": {func(p *peer) []byte {
			g := p.seal.(*gcm)
			body := append([]byte{15}, make([]byte, 15)...)
			head := binary.BigEndian.AppendUint32(nil, 16)
			return g.aead.Seal(head, g.nonce, body, head)
		}, protocolError},
		"more padding than packet": {func(p *peer) []byte {
			g := p.seal.(*gcm)
			body := append([]byte{200}, make([]byte, 15)...)
			head := binary.BigEndian.AppendUint32(nil, 16)
			return g.aead.Seal(head, g.nonce, body, head)
		}, protocolError},
	} {
		t.Run(name, func(t *testing.T) {
			m, client, agent := aPair(t, nil)
			if _, err := client.conn.Write(test.send(client)); err != nil {
				t.Fatal(err)
			}
			if got := within(t, m.lost); got[0] != 0 || got[1] != test.want {
				t.Fatalf("lost %d %q", got[:2], got[2:])
			}
			m.say(kindPacket, 0, []byte{msgDisconnect, 1})
			m.say(kindAbort, 0, nil)
			expect(t, client.next(), []byte{msgDisconnect, 1})
			m.say(kindEnd, 1, nil)
			expect(t, agent.next(), nil)
		})
	}
}

func TestTheEndOfASideComesAfterItsData(t *testing.T) {
	m, client, agent := aPair(t, nil)
	for range 8 {
		agent.send(data(32 << 10))
	}
	_ = agent.conn.Close()
	if got := within(t, m.lost); got[0] != 1 || got[1] != endOfFile {
		t.Fatalf("lost %d", got)
	}
	if got := within(t, m.counts); got != [2]uint64{0, 8 * (32<<10 + 1)} {
		t.Fatalf("counts %v", got)
	}
	m.say(kindPacket, 0, []byte{msgDisconnect, 1})
	m.say(kindEnd, 0, nil)
	for range 8 {
		expect(t, client.next(), data(32<<10))
	}
	expect(t, client.next(), []byte{msgDisconnect, 1})
	expect(t, client.next(), nil)
	client.send(data(100)) // dropped
	_ = client.conn.Close()
	if got := within(t, m.lost); got[0] != 0 {
		t.Fatalf("lost %d", got)
	}
}

func TestASideThatDoesNotReadStallsTheOther(t *testing.T) {
	_, client, agent := aPair(t, nil)
	piece := client.encode(data(32 << 10))
	_ = client.conn.SetWriteDeadline(time.Now().Add(time.Second))
	sent := 0
	for {
		n, err := client.conn.Write(piece)
		sent += n
		if err != nil {
			break
		}
		piece = client.encode(data(32 << 10))
	}
	if sent > 8<<20 {
		t.Fatalf("%d bytes were taken", sent)
	}
	expect(t, agent.next(), data(32<<10))
}

func TestAPeerThatNeverEndsAnExchangeIsBounded(t *testing.T) {
	m, client, agent := aPair(t, nil)
	m.say(kindPacket, 0, []byte{msgKexInit})
	m.say(kindPacket, 1, []byte{msgKexInit})
	expect(t, client.next(), []byte{msgKexInit})
	expect(t, agent.next(), []byte{msgKexInit})
	go func() {
		for {
			if _, err := client.conn.Write(client.encode(data(32 << 10))); err != nil {
				return
			}
		}
	}()
	if got := within(t, m.lost); got[0] != 0 || got[1] != protocolError || string(got[2:]) != errUnpaced.Error() {
		t.Fatalf("lost %d %q", got[:2], got[2:])
	}
	_ = client.conn.Close()
}

func TestNonsenseOfTheMakerEndsThePair(t *testing.T) {
	for _, say := range []func(*maker){
		func(m *maker) { m.say('?', 0, nil) },
		func(m *maker) { m.say(kindPacket, 2, []byte{1}) },
		func(m *maker) { m.say(kindRecvKeys, 0, []byte("{")) },
		func(m *maker) { m.sayJSON(kindSendKeys, 0, keys{Cipher: "none"}) },
	} {
		m, client, _ := aPair(t, nil)
		say(m)
		expect(t, client.next(), nil)
		if err := within(t, m.finished); err == nil {
			t.Error("no error")
		}
		m.finished <- nil
	}
}
