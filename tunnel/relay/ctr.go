package relay

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // as an HMAC, which old clients have
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
)

const etmSuffix = "-etm@openssh.com"

var hashes = map[string]func() hash.Hash{
	"hmac-sha2-256": sha256.New, "hmac-sha2-512": sha512.New, "hmac-sha1": sha1.New,
}

// ctr is AES in counter mode (RFC 4344) with an HMAC, over the plain packet or, with etm, over the encrypted one.
type ctr struct {
	stream cipher.Stream
	mac    hash.Hash
	etm    bool
	sum    []byte
	first  []byte // the decrypted first block of the packet that is being received; empty between packets
}

func newCTR(k keys) (*ctr, error) {
	block, err := aes.NewCipher(k.Key)
	if err != nil {
		return nil, err
	}
	counter := append([]byte(nil), k.IV...)
	if len(k.Stream) == aes.BlockSize {
		counter = make([]byte, aes.BlockSize)
		block.Decrypt(counter, k.Stream)
	}
	if len(counter) != aes.BlockSize || len(k.First) != 0 && len(k.First) != aes.BlockSize {
		return nil, fmt.Errorf("an IV of %d bytes", len(counter))
	}
	name, etm := strings.CutSuffix(k.MAC, etmSuffix)
	made, ok := hashes[name]
	if !ok {
		return nil, fmt.Errorf("unknown MAC %q", k.MAC)
	}
	return &ctr{stream: cipher.NewCTR(block, counter), mac: hmac.New(made, k.MACKey), etm: etm, first: k.First}, nil
}

func (c *ctr) head() int {
	if c.etm {
		return lengthSize
	}
	return aes.BlockSize
}

func (c *ctr) length(_ uint32, head []byte) uint32 {
	if c.etm {
		return binary.BigEndian.Uint32(head)
	}
	if len(c.first) == 0 {
		c.first = append(c.first, head[:aes.BlockSize]...)
		c.stream.XORKeyStream(c.first, c.first)
	}
	return binary.BigEndian.Uint32(c.first)
}

func (c *ctr) overhead() int { return c.mac.Size() }

func (c *ctr) tag(seq uint32, packet []byte) []byte {
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], seq)
	c.mac.Reset()
	c.mac.Write(number[:])
	c.mac.Write(packet)
	c.sum = c.mac.Sum(c.sum[:0])
	return c.sum
}

func (c *ctr) open(seq uint32, packet []byte) ([]byte, error) {
	end := len(packet) - c.mac.Size()
	tag := packet[end:]
	if c.etm {
		if !equal(tag, c.tag(seq, packet[:end])) {
			return nil, errTag
		}
		body := packet[lengthSize:end]
		c.stream.XORKeyStream(body, body)
		return body, nil
	}
	if end < aes.BlockSize {
		return nil, errTag
	}
	copy(packet, c.first)
	c.first = c.first[:0]
	c.stream.XORKeyStream(packet[aes.BlockSize:end], packet[aes.BlockSize:end])
	if !equal(tag, c.tag(seq, packet[:end])) {
		return nil, errTag
	}
	return packet[lengthSize:end], nil
}

func (c *ctr) seal(seq uint32, out, slot []byte, payload int) []byte {
	aligned := lengthSize
	if c.etm {
		aligned = 0
	}
	body := pad(slot, payload, aes.BlockSize, aligned)
	start := len(out)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = append(out, body...)
	if c.etm {
		c.stream.XORKeyStream(out[start+lengthSize:], out[start+lengthSize:])
		return append(out, c.tag(seq, out[start:])...)
	}
	tag := c.tag(seq, out[start:])
	c.stream.XORKeyStream(out[start:], out[start:])
	return append(out, tag...)
}
