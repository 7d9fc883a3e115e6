package dialback

import "time"

// deadline wakes waiters of the Conn when it expires; it is guarded by the Conn's lock.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func (c *Conn) set(d *deadline, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.passed = nil, false
	if !at.IsZero() {
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(at), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if d.timer == timer { // else it was reset while this one waited for the lock
				d.passed = true
				c.changed.Broadcast()
			}
		})
		d.timer = timer
	}
}

// SetDeadline sets the deadlines of Read and Write; zero for none.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the time after which Read fails; zero for none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.set(&c.readBy, t)
	return nil
}

// SetWriteDeadline sets the time after which Write fails; zero for none.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.set(&c.writeBy, t)
	return nil
}
