package relay

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// Two packets each, numbers 7 and 8, made by asyncssh 2.24.1 with keys 00 01 02 … and IVs 64 65 66 ….
var vectors = []struct {
	cipher     string
	key, iv    int
	mac        string
	macKey     int
	hexPackets string
}{
	{"aes128-gcm@openssh.com", 16, 12, "", 0, "00000010133c26c0b76ed7fa9b3e571086ca2bece7ef040a7b4b8b59854bc147242d684a000000306827731ab4421df07bf5b55732f081ba3be81a9954700f361c9a13fdaf63affb7a3b4b0093d390435a630bf41bffaa25f21f83b81253bd26b1d9694248d87327"},
	{"aes256-gcm@openssh.com", 32, 12, "", 0, "000000104145b6031585399e3e625fe8da656afd131d9ec397db0e5272015d1f810b783600000030e5444a179e6dde4274e610e926346cfe6c539a2f737e45420dc70a5eedf719b81279e57fda58c067790dd9b163e08f1feb07e8c703a09dd3cdfba172f26937d1"},
	{"chacha20-poly1305@openssh.com", 64, 0, "", 0, "a39afcba21187d2622ef455e6c6dbbf0d78fd32c6d03579df25a81357fdaf139b1e027532fe1f291ddfc56a7aa4103138f594b2de19b4dbf8bd391ebb66454a157806193c60912ac7bffdf221c553fd117114cb8bdbe9f59808f023f7af7d3e8b5a75ebd4dfcf256"},
	{"aes128-ctr", 16, 16, "hmac-sha2-256", 32, "9ebf6e90b842861d616b7a8891e5849b8da2599f805738337ce972ce2a5f0ace334ddeccdb4ce7a971675c9d621c58166c8f60fb4c7fe0d829b2300d66feb753095163dcdef97b7459c533724aea7d574cd7a1d492561ce1e164e4c69125c7808e11ebde6747d8cbd9660a16d3176ec0fd86f4a110017d74001e83e13652e2d38e42e7d9b16e37c49a96eb2b025ee9e4"},
	{"aes192-ctr", 24, 16, "hmac-sha1", 20, "b397928539a5c496b191963e2d4b87924a557612ef8be98463795df62fffe10e09e06fba283690d49121d5b1f9efef710cbe896ecd6a7ef9b1bc337bd636c6af73f65e63c0a61485a2a1fb79452777668584fd3b94cde3551405ed60f9ec38c8da02d6d69d7ed6436aca3178958955e6f71c9f75c7b6b279"},
	{"aes256-ctr", 32, 16, "hmac-sha2-512-etm@openssh.com", 64, "000000109a867945da4cd44d7e8dbfabe6bf90dc8cdbc32cf5dbb0ebd203dfc767b420dd5c445f8a8be7a84eb587658965fc51ffe9a4cdd3682cc3d852f4e02763a8e75969964dd92e62679e0ef24214d8243cbf00000030b3b68b0402d011dd74719c539087ed9fcece8a40c4bab94db449a096709d9912225a7afa38925f32675ff3aaf7632be47d961ea33d4c07a929afcdf94c556c373e1205c8018d508b69a2a84ad72dfef2df1fc975f1f7f5db11f879a40f0d4894c1ae109ba7ec2393ed3e445934186cf6"},
}

func counting(size int, from byte) []byte {
	made := make([]byte, size)
	for i := range made {
		made[i] = from + byte(i)
	}
	return made
}

func vectorKeys(index int) keys {
	v := vectors[index]
	return keys{Cipher: v.cipher, Key: counting(v.key, 0), IV: counting(v.iv, 100), MAC: v.mac, MACKey: counting(v.macKey, 0)}
}

var payloads = [][]byte{[]byte("\x5ehello"), append([]byte{0x5f}, counting(40, 0)...)}

func TestPacketsAreThoseOfAsyncssh(t *testing.T) {
	for index, vector := range vectors {
		t.Run(vector.cipher+vector.mac, func(t *testing.T) {
			want, err := hex.DecodeString(vector.hexPackets)
			if err != nil {
				t.Fatal(err)
			}
			sealing, err := vectorKeys(index).codec()
			if err != nil {
				t.Fatal(err)
			}
			var sent []byte
			for i, payload := range payloads {
				slot := make([]byte, 1+len(payload)+room)
				copy(slot[1:], payload)
				sent = sealing.seal(uint32(7+i), sent, slot, len(payload))
			}
			if !bytes.Equal(sent, want) {
				t.Fatalf("sealed\n%x, want\n%x", sent, want)
			}
			opening, _ := vectorKeys(index).codec()
			rest := want
			for i, payload := range payloads {
				size := lengthSize + int(opening.length(uint32(7+i), rest)) + opening.overhead()
				body, err := opening.open(uint32(7+i), rest[:size])
				if err != nil {
					t.Fatal(err)
				}
				if got := body[1 : len(body)-int(body[0])]; !bytes.Equal(got, payload) {
					t.Fatalf("opened %x, want %x", got, payload)
				}
				rest = rest[size:]
			}
		})
	}
}

func TestAChangedPacketIsRefused(t *testing.T) {
	for index, vector := range vectors {
		packets, _ := hex.DecodeString(vector.hexPackets)
		opening, _ := vectorKeys(index).codec()
		size := lengthSize + int(opening.length(7, packets)) + opening.overhead()
		packets[size-1] ^= 1
		if _, err := opening.open(7, packets[:size]); err == nil {
			t.Errorf("%s opened a changed packet", vector.cipher)
		}
	}
}

func TestUnknownOrUnfitKeysAreRefused(t *testing.T) {
	for _, wrong := range []keys{
		{Cipher: "aes256-cbc", Key: counting(32, 0)},
		{Cipher: "aes128-gcm@openssh.com", Key: counting(15, 0)},
		{Cipher: "aes128-gcm@openssh.com", Key: counting(16, 0), IV: counting(11, 0)},
		{Cipher: "chacha20-poly1305@openssh.com", Key: counting(32, 0)},
		{Cipher: "aes128-ctr", Key: counting(16, 0), IV: counting(16, 0), MAC: "hmac-md5"},
		{Cipher: "aes128-ctr", Key: counting(16, 0), IV: counting(3, 0), MAC: "hmac-sha1"},
	} {
		if _, err := wrong.codec(); err == nil {
			t.Errorf("%v was accepted", wrong)
		}
	}
}
