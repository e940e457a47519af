package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/disk"
)

// identityName is Kafka's name for the file that says whose data a directory holds, in Kafka's form, for
// people to read. The storage engine keeps the same in its own file and compares.
const identityName = "meta.properties"

// loadIdentity reads the directory's identity, or makes one. A directory that is new is of the cluster that is given, or begins
// one if none is. One that has lost this file only is what the engine's says.
func loadIdentity(dir string, node model.NodeID, cluster string) (storage.Identity, error) {
	path := filepath.Join(dir, identityName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		id, err := engineIdentity(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			id = newIdentity(node, cluster)
		case err != nil:
			return id, fmt.Errorf("%s is missing, and %w", path, err)
		}
		if err := fits(path, id, node, cluster); err != nil {
			return id, err
		}
		return id, writeIdentity(path, id)
	}
	if err != nil {
		return storage.Identity{}, err
	}
	var id storage.Identity
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "cluster.id":
			id.ClusterID = value
		case "node.id":
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return id, fmt.Errorf("%s: node.id %q is not a number", path, value)
			}
			id.NodeID = model.NodeID(n)
		case "directory.id":
			d, err := model.ParseTopicID(value)
			if err != nil {
				return id, fmt.Errorf("%s: directory.id: %w", path, err)
			}
			id.DirectoryID = d
		}
	}
	switch {
	case id.ClusterID == "":
		return id, fmt.Errorf("%s: there is no cluster.id in it; if you remove the file, it is made anew", path)
	case id.NodeID == node && id.DirectoryID.IsZero():
		return id, fmt.Errorf("%s: there is no directory.id in it; if you remove the file, it is made anew", path)
	}
	return id, fits(path, id, node, cluster)
}

// engineIdentity is what the storage engine's own file says, os.ErrNotExist if there is none.
func engineIdentity(dir string) (storage.Identity, error) {
	path := filepath.Join(dir, disk.EngineDir, storage.MetaPath)
	b, err := os.ReadFile(path)
	if err != nil {
		return storage.Identity{}, err
	}
	id, err := storage.ReadIdentity(b)
	if err != nil {
		return id, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

// newIdentity is of a directory that is new.
func newIdentity(node model.NodeID, cluster string) storage.Identity {
	made := storage.Identity{ClusterID: cluster, NodeID: node}
	if cluster == "" {
		var id model.TopicID
		_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
		made.ClusterID = id.String()
	}
	_, _ = rand.Read(made.DirectoryID[:])
	return made
}

// fits refuses the data of another node or cluster than are configured, with the error that the engine would refuse it with.
func fits(path string, id storage.Identity, node model.NodeID, cluster string) error {
	if cluster != "" && id.ClusterID != cluster {
		return fmt.Errorf("%s: %w: the data is of cluster %s, and this node is configured to be of %s (cluster.id)", path, storage.ErrIdentity, id.ClusterID, cluster)
	}
	if id.NodeID != node {
		return fmt.Errorf("%s: %w: the data is of node %d, and this node is configured to be %d (node.id)", path, storage.ErrIdentity, id.NodeID, node)
	}
	return nil
}

// writeIdentity puts the file there whole or not at all.
func writeIdentity(path string, id storage.Identity) error {
	f, err := os.CreateTemp(filepath.Dir(path), identityName+".*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", id.ClusterID, id.NodeID, id.DirectoryID)
	err = errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
