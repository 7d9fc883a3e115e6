package terminals

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// MaxTerminals is how many a session keeps.
const MaxTerminals = 16

var labels = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Registry has the terminals of a session. Its zero value is ready.
type Registry struct {
	Stall time.Duration // how long a client may hold a program up; 0: the default

	mu    sync.Mutex
	known map[key]*Terminal
}

// key tells terminals apart: each Unix user has their own.
type key struct {
	uid   uint32
	label string
}

// Open returns a user's terminal of that label, and whether it is new; then start has started its program on a device.
func (r *Registry) Open(uid uint32, account, label string, start func(*Terminal) (Device, error)) (*Terminal, bool, error) {
	if !labels.MatchString(label) {
		return nil, false, fmt.Errorf("%q is not a label: use up to 32 lower-case letters, digits and '-'", label)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.known[key{uid, label}]; t != nil {
		return t, false, nil
	}
	if len(r.known) >= MaxTerminals {
		return nil, false, fmt.Errorf("the session keeps %d terminals already: end one", MaxTerminals)
	}
	t := &Terminal{
		Label: label, Account: account, UID: uid, Began: time.Now(), used: time.Now(), stall: cmp.Or(r.Stall, stalled),
		history: history{limit: historyBytes}, clients: map[*client]struct{}{}, ended: make(chan struct{}),
	}
	device, err := start(t)
	if err != nil {
		return nil, false, err
	}
	t.mu.Lock()
	t.device = device
	t.mu.Unlock()
	if r.known == nil {
		r.known = map[key]*Terminal{}
	}
	r.known[key{uid, label}] = t
	go func() {
		<-t.ended
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.known, key{uid, label})
	}()
	return t, true, nil
}

// List returns those that a user may see, by user and label: their own, or all of them for root.
func (r *Registry) List(uid uint32) []*Terminal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*Terminal
	for _, t := range r.known {
		if uid == 0 || t.UID == uid {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *Terminal) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Label, b.Label))
	})
	return found
}

// Find returns the terminal of that label that was used last, or of any label for "". nil: there is none.
func (r *Registry) Find(label string) *Terminal {
	var found *Terminal
	for _, t := range r.List(0) {
		if (label == "" || t.Label == label) && (found == nil || t.Used().After(found.Used())) {
			found = t
		}
	}
	return found
}

// Print writes a table of terminals.
func Print(out io.Writer, found []*Terminal, now time.Time) {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprint(table, "LABEL\tUSER\tAGE\tUSED\tATTACHED\tWATCHED\tSIZE\n")
	for _, t := range found {
		attached, watching := t.Clients()
		size := t.Size()
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%dx%d\n", t.Label, t.Account,
			ago(now, t.Began), ago(now, t.Used()), attached, watching, size.Columns, size.Rows)
	}
	_ = table.Flush()
}

func ago(now, then time.Time) string { return now.Sub(then).Truncate(time.Second).String() }
