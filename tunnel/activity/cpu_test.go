package activity

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, root, name, text string) {
	path := filepath.Join(root, "sys/fs/cgroup", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBusyCpusAreMeasuredInBothVersionsOfCgroups(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, write := range map[string]func(root, seconds string){
		"1": func(root, seconds string) { write(t, root, "cpuacct/cpuacct.usage", seconds+"000000000\n") },
		"2": func(root, seconds string) {
			write(t, root, "cgroup.events", "populated 1\n")
			write(t, root, "cpu.stat", "usage_usec "+seconds+"000000\nuser_usec 1\n")
		},
	} {
		meter := &Meter{Root: t.TempDir()}
		write(meter.Root, "100")
		if cpus := meter.measure(start); cpus != nil {
			t.Errorf("version %s: one sample says %v", name, *cpus)
		}
		write(meter.Root, "105")
		if cpus := meter.measure(start.Add(10 * time.Second)); cpus == nil || *cpus != 0.5 {
			t.Errorf("version %s: got %v", name, cpus)
		}
		write(meter.Root, "103") // a counter that fell is of another cgroup
		if cpus := meter.measure(start.Add(20 * time.Second)); cpus == nil || *cpus != 0.15 {
			t.Errorf("version %s: got %v", name, cpus)
		}
	}
}

func TestTheAverageIsOfTheLastMinute(t *testing.T) {
	meter := &Meter{Root: t.TempDir()}
	var cpus *float64
	for i := range 20 {
		used := "0"
		if i >= 10 {
			used = "6"
		}
		write(t, meter.Root, "cpuacct/cpuacct.usage", used+"000000000")
		cpus = meter.measure(time.Unix(int64(1000+10*i), 0))
		if i == 10 && (cpus == nil || *cpus != 0.1) {
			t.Errorf("after the burst: %v", cpus)
		}
	}
	if cpus == nil || *cpus != 0 {
		t.Errorf("long after it: %v", cpus)
	}
}

func TestTheMachinesOwnCountersAreNotTheContainers(t *testing.T) {
	meter := &Meter{Root: t.TempDir()}
	write(t, meter.Root, "cpu.stat", "usage_usec 1000000\n")
	for i := range 2 {
		if cpus := meter.measure(time.Unix(int64(1000+i), 0)); cpus != nil {
			t.Fatalf("got %v", *cpus)
		}
	}
}

func TestFromTheFloorOnCpusAreActivity(t *testing.T) {
	var tracker Tracker
	idle, busy := 0.04, 0.06
	tracker.Busy(&idle)
	if seen := tracker.Snapshot(); seen.BusyTime != nil || seen.GetCpus() != idle {
		t.Errorf("below: %v", seen)
	}
	tracker.SetFloor(0.1)
	tracker.Busy(&busy)
	if seen := tracker.Snapshot(); seen.BusyTime != nil {
		t.Errorf("below its own floor: %v", seen)
	}
	tracker.SetFloor(0)
	tracker.Busy(&busy)
	if seen := tracker.Snapshot(); seen.BusyTime == nil {
		t.Errorf("above: %v", seen)
	}
	var unknown Tracker
	unknown.Busy(nil)
	if seen := unknown.Snapshot(); seen.BusyTime == nil || seen.Cpus != nil {
		t.Errorf("not known: %v", seen)
	}
}
