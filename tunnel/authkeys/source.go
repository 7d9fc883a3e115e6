package authkeys

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

var (
	errNotFromThere = errors.New("not for connections from this address")
	errExpired      = errors.New("expired")
)

// matchSource matches an address with ssh_config(5) PATTERNS and CIDR ranges: one must match, and none that begins with
// "!". Host names match nothing, as with sshd's UseDNS=no.
func matchSource(list string, from netip.Addr) error {
	matched := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(strings.TrimSpace(pattern), "!")
		found := false
		if strings.Contains(pattern, "/") {
			network, err := netip.ParsePrefix(pattern)
			if err != nil {
				return fmt.Errorf("%q is no range of addresses", pattern)
			}
			found = network.Contains(from)
		} else {
			found = from.IsValid() && matchPattern(strings.ToLower(pattern), from.WithZone("").String())
		}
		if found && negated {
			return errNotFromThere
		}
		matched = matched || found
	}
	if !matched {
		return errNotFromThere
	}
	return nil
}

// matchPattern supports "*" for any characters and "?" for one.
func matchPattern(pattern, text string) bool {
	star, retry := -1, 0 // position of the last "*", and where to retry after it
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			retry++
			p, t = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// checkExpiry parses YYYYMMDD[HHMM[SS]][Z]; without Z it is in the session's time zone.
func checkExpiry(text string, now time.Time) error {
	zone := time.Local
	digits, utc := strings.CutSuffix(text, "Z")
	if utc {
		zone = time.UTC
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return fmt.Errorf("%q is no time", text)
	}
	end, err := time.ParseInLocation(layout, digits, zone)
	if err != nil {
		return fmt.Errorf("%q is no time", text)
	}
	if !now.Before(end) {
		return errExpired
	}
	return nil
}
