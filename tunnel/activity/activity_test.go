package activity

import (
	"testing"
	"time"
)

func TestSnapshotCountsWhatIsOpen(t *testing.T) {
	var tracker Tracker
	if snapshot := tracker.Snapshot(); snapshot.GetChannels() != 0 || snapshot.LastByteTime != nil {
		t.Fatalf("%v", snapshot)
	}
	first, second, terminal := tracker.Channel(), tracker.Channel(), tracker.Terminal()
	tracker.Touch()
	first()
	snapshot := tracker.Snapshot()
	if snapshot.GetChannels() != 1 || snapshot.GetTerminals() != 1 || time.Since(snapshot.GetLastByteTime().AsTime()) > time.Minute {
		t.Fatalf("%v", snapshot)
	}
	second()
	terminal()
	if snapshot := tracker.Snapshot(); snapshot.GetChannels() != 0 || snapshot.GetTerminals() != 0 {
		t.Fatalf("%v", snapshot)
	}
}
