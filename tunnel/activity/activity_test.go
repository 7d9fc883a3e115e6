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

func TestInputAndForwardsAreTrafficAndKnownByThemselves(t *testing.T) {
	var tracker Tracker
	closed := tracker.Forward()
	tracker.TouchInput()
	seen := tracker.Snapshot()
	if seen.LastInputTime == nil || seen.LastByteTime == nil || seen.LastForwardTime != nil || seen.GetForwards() != 1 || seen.GetChannels() != 1 {
		t.Errorf("input: %v", seen)
	}
	tracker.TouchForward()
	closed()
	seen = tracker.Snapshot()
	if seen.LastForwardTime == nil || seen.GetForwards() != 0 || seen.GetChannels() != 0 {
		t.Errorf("forward: %v", seen)
	}
}
