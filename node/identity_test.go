package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/disk"
)

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	made, err := loadIdentity(dir, 3, "")
	if err != nil || len(made.ClusterID) != 22 || made.NodeID != 3 {
		t.Fatalf("%+v, %v", made, err)
	}
	again, err := loadIdentity(dir, 3, "")
	if err != nil || again != made {
		t.Errorf("%+v became %+v, %v", made, again, err)
	}
	other, err := loadIdentity(t.TempDir(), 3, "")
	if err != nil || other.ClusterID == made.ClusterID {
		t.Errorf("two data directories began one cluster: %v, %v", other, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestIdentityThatDoesNotFitIsRefused(t *testing.T) {
	for content, says := range map[string]string{
		"version=1\nnode.id=3\n":                 "no cluster.id",
		"version=1\ncluster.id=abc\nnode.id=3\n": "no directory.id",
		"":                                       "no cluster.id",
		"cluster.id=abc\nnode.id=three\n":        "not a number",
		"cluster.id=abc\nnode.id=99999999999999999": "not a number",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identityName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadIdentity(dir, 3, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestTheDataOfAnotherNodeOrClusterIsRefusedAsTheEngineRefusesIt(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadIdentity(dir, 3, "one"); err != nil {
		t.Fatal(err)
	}
	for says, of := range map[string]struct {
		node    model.NodeID
		cluster string
	}{
		"the data is of node 3":      {4, "one"},
		"the data is of cluster one": {3, "another"},
	} {
		if _, err := loadIdentity(dir, of.node, of.cluster); !errors.Is(err, storage.ErrIdentity) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", of, err)
		}
	}
}

// A disk must stay the one that it was: as another it would vote as another.
func TestIdentityThatIsGoneIsThatOfTheEngine(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	made, err := loadIdentity(dir, 3, "")
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := storage.Open(d, storage.Config{Identity: made})
	if err != nil {
		t.Fatal(err)
	}
	var done effect.Completions
	if err := errors.Join(e.Close(&done), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, identityName)); err != nil {
		t.Fatal(err)
	}
	if _, err := loadIdentity(dir, 4, ""); err == nil || !strings.Contains(err.Error(), "the data is of node 3") {
		t.Errorf("another node: %v", err)
	}
	for range 2 { // read from the engine's file, and from the one that was made anew
		if again, err := loadIdentity(dir, 3, ""); err != nil || again != made {
			t.Errorf("%+v became %+v, %v", made, again, err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, identityName)), os.Truncate(filepath.Join(dir, disk.EngineDir, storage.MetaPath), 20)); err != nil {
		t.Fatal(err)
	}
	if _, err := loadIdentity(dir, 3, ""); err == nil {
		t.Error("a new identity was made for a directory whose own cannot be read")
	}
}
