package disk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/weirmq/weir/core/storage"
)

// syncsAtOnce is how many syncs of different files are under way at a time. A file system with a journal
// commits what waits together, so that many at once cost little more than one; beyond this nothing is gained.
const syncsAtOnce = 32

var _ storage.ManySyncer = (*Disk)(nil)

// SyncMany implements storage.ManySyncer. Every file and directory has a sync of its own, so that each error
// is of one file and stays with it; docs/decisions/0005 says why not one sync of the whole file system.
func (d *Disk) SyncMany(files []storage.File, dirs []string) error {
	var next atomic.Int64
	errs := make([]error, min(syncsAtOnce, len(files)+len(dirs)))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				switch {
				case i < len(files):
					if err := files[i].Sync(); err != nil {
						errs[w] = fmt.Errorf("sync: %w", err)
					}
				case i < len(files)+len(dirs):
					dir := dirs[i-len(files)]
					if err := d.SyncDir(dir); err != nil && !errors.Is(err, storage.ErrNotExist) {
						errs[w] = fmt.Errorf("sync of directory %s: %w", dir, err)
					}
				default:
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
