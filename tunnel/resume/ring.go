package resume

// ring is a queue of bytes in a buffer that grows to a limit, and is given back while the queue is empty.
type ring struct {
	buf         []byte
	start, size int
}

// leastRing is the size of a buffer that is kept.
const leastRing = 64 << 10

// push appends as much of p as fits into limit bytes.
func (r *ring) push(p []byte, limit int) int {
	p = p[:min(len(p), limit-r.size)]
	if r.size+len(p) > len(r.buf) {
		r.grow(r.size+len(p), limit)
	}
	for rest := p; len(rest) > 0; {
		at := (r.start + r.size) % len(r.buf)
		n := copy(r.buf[at:], rest) // before start there is room for all of it
		r.size, rest = r.size+n, rest[n:]
	}
	return len(p)
}

func (r *ring) grow(need, limit int) {
	size := max(leastRing, 2*len(r.buf))
	for size < need {
		size *= 2
	}
	buf := make([]byte, min(size, limit))
	r.peek(0, buf[:r.size])
	r.buf, r.start = buf, 0
}

// peek copies what follows after the first bytes.
func (r *ring) peek(after int, p []byte) int {
	total := min(len(p), r.size-after)
	for n := 0; n < total; {
		at := (r.start + after + n) % len(r.buf)
		n += copy(p[n:total], r.buf[at:])
	}
	return total
}

// drop removes the first n bytes.
func (r *ring) drop(n int) {
	if r.size -= n; r.size == 0 {
		r.start = 0
		if len(r.buf) > leastRing {
			r.buf = nil
		}
		return
	}
	r.start = (r.start + n) % len(r.buf)
}
