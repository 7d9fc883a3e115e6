package relay

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 OpenSSH's cipher is no AEAD of another package
)

// The parts of a packet (RFC 4253, section 6): length, padding length, payload, padding, and a tag or MAC.
const (
	lengthSize = 4
	minPadding = 4
	// room is what a slot has beyond the payload: the longest padding.
	room = 32
)

var errTag = errors.New("MAC verification failed")

// opener decrypts the packets of one direction.
type opener interface {
	// head is how many bytes of a packet are needed to know its length.
	head() int
	// length decrypts the length field of the packet with that number; may be called again.
	length(seq uint32, head []byte) uint32
	// overhead is what follows the number of bytes that the length field counts.
	overhead() int
	// open verifies a whole packet and decrypts it in place. Returns what the length field counts.
	open(seq uint32, packet []byte) ([]byte, error)
}

// sealer encrypts the packets of one direction.
type sealer interface {
	// seal appends a packet to out. slot[0] and what follows the payload, room bytes, are overwritten.
	seal(seq uint32, out, slot []byte, payload int) []byte
}

// keys are those of one direction, as the process that exchanged them sends them.
type keys struct {
	Cipher string `json:"cipher"`
	Key    []byte `json:"key"`
	IV     []byte `json:"iv"`
	MAC    string `json:"mac"`
	MACKey []byte `json:"mac_key"`
	// Of a counter that was used before: the encrypted counter instead of an IV.
	Stream []byte `json:"stream"`
	// The decrypted beginning of a packet, whose encrypted one is the first that is received.
	First []byte `json:"first"`
}

type both interface {
	opener
	sealer
}

// codec returns the cipher of one direction; it opens or seals, never both.
func (k keys) codec() (both, error) {
	switch k.Cipher {
	case "aes128-gcm@openssh.com", "aes256-gcm@openssh.com":
		return newGCM(k)
	case "chacha20-poly1305@openssh.com":
		return newChaCha(k)
	case "aes128-ctr", "aes192-ctr", "aes256-ctr":
		return newCTR(k)
	default:
		return nil, fmt.Errorf("unknown cipher %q", k.Cipher)
	}
}

// pad prepares a slot, and returns what the length field counts. aligned is how many bytes before it count for a block.
func pad(slot []byte, payload, block, aligned int) []byte {
	padding := block - (aligned+1+payload)%block
	if padding < minPadding {
		padding += block
	}
	slot[0] = byte(padding)
	end := 1 + payload + padding
	clear(slot[1+payload : end])
	return slot[:end]
}

// gcm is RFC 5647 as OpenSSH uses it: the length is authenticated and not encrypted.
type gcm struct {
	aead  cipher.AEAD
	nonce []byte
}

func newGCM(k keys) (*gcm, error) {
	block, err := aes.NewCipher(k.Key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(k.IV) != aead.NonceSize() {
		return nil, fmt.Errorf("an IV of %d bytes", len(k.IV))
	}
	return &gcm{aead: aead, nonce: append([]byte(nil), k.IV...)}, nil
}

func (g *gcm) next() {
	counter := g.nonce[4:]
	binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)+1)
}

func (g *gcm) head() int { return lengthSize }

func (g *gcm) length(_ uint32, head []byte) uint32 { return binary.BigEndian.Uint32(head) }

func (g *gcm) overhead() int { return g.aead.Overhead() }

func (g *gcm) open(_ uint32, packet []byte) ([]byte, error) {
	body := packet[lengthSize:]
	plain, err := g.aead.Open(body[:0], g.nonce, body, packet[:lengthSize])
	if err != nil {
		return nil, errTag
	}
	g.next()
	return plain, nil
}

func (g *gcm) seal(_ uint32, out, slot []byte, payload int) []byte {
	body := pad(slot, payload, aes.BlockSize, 0)
	start := len(out)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = g.aead.Seal(out, g.nonce, body, out[start:])
	g.next()
	return out
}

// chacha is chacha20-poly1305@openssh.com (PROTOCOL.chacha20poly1305): the length has a key of its own. Its stream is that
// of RFC 8439, whose implementation is several times faster here than that of plain ChaCha20, although its tag, which is
// another one than OpenSSH's, is computed for nothing.
type chacha struct {
	aead           cipher.AEAD
	key, lengthKey []byte
}

func newChaCha(k keys) (*chacha, error) {
	if len(k.Key) != 2*chacha20.KeySize {
		return nil, fmt.Errorf("a key of %d bytes", len(k.Key))
	}
	own := append([]byte(nil), k.Key...)
	aead, err := chacha20poly1305.New(own[:chacha20.KeySize])
	if err != nil {
		return nil, err
	}
	return &chacha{aead: aead, key: own[:chacha20.KeySize], lengthKey: own[chacha20.KeySize:]}, nil
}

func nonceOf(seq uint32) (nonce [chacha20.NonceSize]byte) {
	binary.BigEndian.PutUint32(nonce[8:], seq)
	return nonce
}

// firstBlock encrypts a few bytes with the first block of a packet's stream.
func firstBlock(key []byte, seq uint32, to, from []byte) {
	nonce := nonceOf(seq)
	made, err := chacha20.NewUnauthenticatedCipher(key, nonce[:])
	if err != nil {
		panic(err) // the sizes are constants
	}
	made.XORKeyStream(to, from)
}

func (c *chacha) head() int { return lengthSize }

func (c *chacha) length(seq uint32, head []byte) uint32 {
	var plain [lengthSize]byte
	firstBlock(c.lengthKey, seq, plain[:], head[:lengthSize])
	return binary.BigEndian.Uint32(plain[:])
}

func (c *chacha) overhead() int { return poly1305.TagSize }

func (c *chacha) tagKey(seq uint32) *[32]byte {
	var key [32]byte
	firstBlock(c.key, seq, key[:], key[:])
	return &key
}

// crypt encrypts or decrypts a body in place; the bytes of a tag behind it are overwritten.
func (c *chacha) crypt(seq uint32, body []byte) {
	nonce := nonceOf(seq)
	c.aead.Seal(body[:0], nonce[:], body, nil)
}

func (c *chacha) open(seq uint32, packet []byte) ([]byte, error) {
	end := len(packet) - poly1305.TagSize
	var tag [poly1305.TagSize]byte
	copy(tag[:], packet[end:])
	if !poly1305.Verify(&tag, packet[:end], c.tagKey(seq)) {
		return nil, errTag
	}
	body := packet[lengthSize:end]
	c.crypt(seq, body[:len(body):len(packet)-lengthSize])
	return body, nil
}

func (c *chacha) seal(seq uint32, out, slot []byte, payload int) []byte {
	body := pad(slot, payload, 8, 0)
	start := len(out)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	firstBlock(c.lengthKey, seq, out[start:], out[start:])
	at := len(out)
	out = append(out, body...)
	var tag [poly1305.TagSize]byte
	out = append(out, tag[:]...)
	end := len(out) - poly1305.TagSize
	c.crypt(seq, out[at:end])
	poly1305.Sum(&tag, out[start:end], c.tagKey(seq))
	copy(out[end:], tag[:])
	return out
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
