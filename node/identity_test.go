package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		"version=1\ncluster.id=abc\nnode.id=4\n": "the data is of node 4",
		"version=1\nnode.id=3\n":                 "no cluster.id",
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
