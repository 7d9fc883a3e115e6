package terminals

import (
	"bytes"
	"regexp"
)

const (
	enterAlternate = "\x1b[?1049h"
	leaveAlternate = "\x1b[?1049l"
	clear          = "\x1b[0m\x1b[H\x1b[2J"
)

// queries are what programs ask terminals. A replay must not ask again: the answers would be input of the program.
var queries = regexp.MustCompile(`\x1b\[[>=?]?[0-9;]*(?:[cn]|\$p)|\x1b\[[>?][0-9;]*[qu]|\x1b\][0-9;]*;\?(?:\x07|\x1b\\)|\x1bP[+$][^\x1b]*\x1b\\`)

// history is the end of a terminal's output, at most twice limit bytes in memory.
type history struct {
	limit     int
	kept      []byte
	cut       bool // something was dropped at its start
	alternate bool // a full-screen program has the terminal's other screen
	entered   int  // where that begins in kept; -1 if it was dropped
}

func (h *history) write(p []byte) {
	from := max(0, len(h.kept)-len(enterAlternate)+1) // a sequence may arrive in two pieces
	h.kept = append(h.kept, p...)
	entered := bytes.LastIndex(h.kept[from:], []byte(enterAlternate))
	left := bytes.LastIndex(h.kept[from:], []byte(leaveAlternate))
	switch {
	case entered > left:
		h.alternate, h.entered = true, from+entered
	case left > entered:
		h.alternate = false
	}
	if drop := len(h.kept) - h.limit; drop > h.limit {
		h.kept = append(h.kept[:0], h.kept[drop:]...)
		h.cut, h.entered = true, max(-1, h.entered-drop)
	}
}

// replay returns what shows a newly attached client the screen. A full-screen program draws its screen again by itself, as
// its window's size changes.
func (h *history) replay() []byte {
	shown := h.kept
	if h.alternate {
		shown = h.kept[:max(0, h.entered)]
	}
	if over := len(shown) - h.limit; over > 0 || h.cut {
		shown = shown[max(0, over):]
		if _, rest, found := bytes.Cut(shown, []byte("\n")); found { // not from the middle of a sequence on
			shown = rest
		}
	}
	replay := append([]byte(clear), queries.ReplaceAll(shown, nil)...)
	if h.alternate {
		replay = append(replay, enterAlternate+clear...)
	}
	return replay
}
