package storage_test

import (
	"errors"
	"testing"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

func TestIdentityIsCheckedAtEveryStart(t *testing.T) {
	r := newRig(t, smallConfig())
	r.close()
	for _, other := range []storage.Identity{
		{ClusterID: "another", NodeID: 1, DirectoryID: testIdentity.DirectoryID},
		{ClusterID: "test-cluster", NodeID: 2, DirectoryID: testIdentity.DirectoryID},
		{ClusterID: "test-cluster", NodeID: 1, DirectoryID: model.TopicID{8}},
	} {
		cfg := r.cfg
		cfg.Identity = other
		if _, _, err := storage.Open(r.disk, cfg); !errors.Is(err, storage.ErrIdentity) {
			t.Fatalf("%+v: opened with %v", other, err)
		}
	}
	r.cfg.Identity.DirectoryID = model.TopicID{}
	r.open()
	if got := r.e.Identity(); got != testIdentity {
		t.Fatalf("identity %+v", got)
	}
	r.close()
	r.disk.Flip("meta", 200)
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrFrame) || !storage.IsDamage(err) {
		t.Fatalf("opened with %v", err)
	}
}

func TestPartitionsWithoutIdentityAreNotTakenOver(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 1, 10)
	r.close()
	if err := r.disk.Remove("meta"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("opened with %v", err)
	}
}

// A directory whose partitions are in the journal only, as after a power loss that took the names of their first files, is somebody's
// all the same.
func TestJournalWithoutIdentityIsNotTakenOver(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 1, 10)
	r.disk.Crash(storagetest.LoseUnsynced, 0)
	if entries, err := r.disk.List("partitions"); err != nil || len(entries) > 0 {
		t.Fatalf("%v, %v", entries, err)
	}
	if err := r.disk.Remove("meta"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("opened with %v", err)
	}
}
