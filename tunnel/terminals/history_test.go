package terminals

import (
	"bytes"
	"strings"
	"testing"
)

func TestReplayShowsTheEndOfTheOutputFromALineOn(t *testing.T) {
	h := history{limit: 1000}
	for range 500 {
		h.write([]byte("a line\r\n"))
	}
	h.write([]byte("$ "))
	got := string(h.replay())
	if !strings.HasPrefix(got, clear+"a line\r\n") || !strings.HasSuffix(got, "\r\n$ ") || len(got) > 1000+len(clear) {
		t.Fatalf("got %d bytes: %.40q … %q", len(got), got, got[len(got)-10:])
	}
	if cap(h.kept) > 8*h.limit {
		t.Fatalf("%d bytes are kept", cap(h.kept))
	}
}

func TestReplayAsksTheTerminalNothing(t *testing.T) {
	h := history{limit: 1000}
	h.write([]byte("a\x1b[6nb\x1b[>cc\x1b]11;?\x07d\x1b[?2026$pe\x1bP+q544e\x1b\\f\x1b[31mg\x1b]0;title\x07"))
	if got := string(h.replay()); got != clear+"abcdef\x1b[31mg\x1b]0;title\x07" {
		t.Fatalf("got %q", got)
	}
}

func TestFullScreenProgramGetsTheOtherScreenAndDrawsItself(t *testing.T) {
	h := history{limit: 1000}
	h.write([]byte("$ vi\r\n\x1b[?10"))
	h.write([]byte("49hthe text of a file"))
	if got := string(h.replay()); got != clear+"$ vi\r\n"+enterAlternate+clear {
		t.Fatalf("got %q", got)
	}
	h.write(bytes.Repeat([]byte("drawn "), 1000))
	if got := string(h.replay()); got != clear+enterAlternate+clear {
		t.Fatalf("its beginning is dropped: got %.80q", got)
	}
	h.write([]byte(leaveAlternate + "\r\n$ "))
	if got := string(h.replay()); got != clear+"$ " {
		t.Fatalf("got %q", got)
	}
}
