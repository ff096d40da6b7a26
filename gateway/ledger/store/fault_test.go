package store

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// op is what a faulty disk is asked to do.
type op struct {
	kind string // create write truncate sync close rename remove syncdir
	name string // of the file, without its directory
	size int    // of a write
}

// faultDisk is the file system with faults: fail is asked before each operation,
// and can make it fail; of a write that fails, part bytes are written all the
// same. It remembers what was synced, so that the power can be cut.
type faultDisk struct {
	mu    sync.Mutex
	fail  func(op) (part int, err error) // nil: nothing fails
	after func(op)                       // nil: nothing is told
	ops   int

	names   map[string]*inode // :: path → file, as it is
	durable map[string]*inode // :: path → file, as the directory was synced
	dirOps  []func(map[string]*inode)
}

// inode is a file's content: what was synced, and the writes since.
type inode struct {
	synced []byte
	writes []write
}

type write struct {
	at   int64
	data []byte // nil: the file is cut at at
}

func newFaultDisk() *faultDisk {
	return &faultDisk{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// do runs an operation, unless it is to fail.
func (d *faultDisk) do(o op, f func() error) error {
	d.mu.Lock()
	fail, after := d.fail, d.after
	d.ops++
	d.mu.Unlock()
	if fail != nil {
		if _, err := fail(o); err != nil {
			return &os.PathError{Op: o.kind, Path: o.name, Err: err}
		}
	}
	if err := f(); err != nil {
		return err
	}
	if after != nil {
		after(o)
	}
	return nil
}

func (d *faultDisk) setFail(f func(op) (int, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

func (d *faultDisk) dirOp(f func(map[string]*inode)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d.names)
	d.dirOps = append(d.dirOps, f)
}

func (d *faultDisk) create(name string) (file, error) {
	var f file
	err := d.do(op{kind: "create", name: filepath.Base(name)}, func() (err error) {
		f, err = realDisk{}.create(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	n := &inode{}
	d.dirOp(func(dir map[string]*inode) { dir[name] = n })
	return &faultFile{d, n, filepath.Base(name), f}, nil
}

func (d *faultDisk) rename(from, to string) error {
	return d.do(op{kind: "rename", name: filepath.Base(to)}, func() error {
		if err := (realDisk{}).rename(from, to); err != nil {
			return err
		}
		d.dirOp(func(dir map[string]*inode) {
			if n := dir[from]; n != nil {
				dir[to] = n
				delete(dir, from)
			}
		})
		return nil
	})
}

func (d *faultDisk) remove(name string) error {
	return d.do(op{kind: "remove", name: filepath.Base(name)}, func() error {
		if err := (realDisk{}).remove(name); err != nil {
			return err
		}
		d.dirOp(func(dir map[string]*inode) { delete(dir, name) })
		return nil
	})
}

func (d *faultDisk) syncDir(dir string) error {
	return d.do(op{kind: "syncdir", name: filepath.Base(dir)}, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, f := range d.dirOps {
			f(d.durable)
		}
		d.dirOps = nil
		return nil
	})
}

type faultFile struct {
	disk *faultDisk
	node *inode
	name string
	file file
}

func (f *faultFile) WriteAt(b []byte, at int64) (int, error) {
	o := op{kind: "write", name: f.name, size: len(b)}
	f.disk.mu.Lock()
	fail := f.disk.fail
	f.disk.mu.Unlock()
	if fail != nil {
		if part, err := fail(o); err != nil {
			n := min(part, len(b))
			if n > 0 {
				f.disk.note(f.node, write{at, slices.Clone(b[:n])})
				if n, err := f.file.WriteAt(b[:n], at); err != nil {
					return n, err
				}
			}
			return n, &os.PathError{Op: "write", Path: f.name, Err: err}
		}
	}
	n, err := f.file.WriteAt(b, at)
	f.disk.note(f.node, write{at, slices.Clone(b[:n])})
	f.disk.mu.Lock()
	after := f.disk.after
	f.disk.ops++
	f.disk.mu.Unlock()
	if after != nil {
		after(o)
	}
	return n, err
}

func (d *faultDisk) note(n *inode, w write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n.writes = append(n.writes, w)
}

func (f *faultFile) Truncate(size int64) error {
	return f.disk.do(op{kind: "truncate", name: f.name}, func() error {
		if err := f.file.Truncate(size); err != nil {
			return err
		}
		f.disk.note(f.node, write{at: size})
		return nil
	})
}

func (f *faultFile) Sync() error {
	// What is written while the sync runs need not be part of it.
	f.disk.mu.Lock()
	n := len(f.node.writes)
	f.disk.mu.Unlock()
	return f.disk.do(op{kind: "sync", name: f.name}, func() error {
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		n = min(n, len(f.node.writes))
		f.node.synced = patch(f.node.synced, f.node.writes[:n])
		f.node.writes = f.node.writes[n:]
		return nil
	})
}

func (f *faultFile) Close() error {
	return f.disk.do(op{kind: "close", name: f.name}, f.file.Close)
}

// patch returns what a file holds after writes.
func patch(b []byte, writes []write) []byte {
	b = slices.Clone(b)
	for _, w := range writes {
		if w.data == nil {
			b = b[:min(int64(len(b)), w.at)]
			continue
		}
		if end := int(w.at) + len(w.data); end > len(b) {
			b = append(b, make([]byte, end-len(b))...)
		}
		copy(b[w.at:], w.data)
	}
	return b
}

// sector is what a disk writes at once.
const sector = 512

// cut returns the journal that the disk may hold after the power was cut: what
// was synced, and of what was not any part, in any order.
func (d *faultDisk) cut(r *rand.Rand) []journalFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, f := range d.dirOps[:r.IntN(len(d.dirOps)+1)] { // a file system logs them in order
		f(names)
	}
	var files []journalFile
	for _, name := range slices.SortedFunc(maps.Keys(names), compareJournals) {
		if isJournal(filepath.Base(name)) {
			files = append(files, journalFile{name, names[name].survive(r)})
		}
	}
	return files
}

func (n *inode) survive(r *rand.Rand) []byte {
	var kept []write
	for _, w := range n.writes {
		if w.data == nil {
			if r.IntN(2) == 0 {
				kept = append(kept, w)
			}
			continue
		}
		for at := w.at; at < w.at+int64(len(w.data)); {
			end := min((at/sector+1)*sector, w.at+int64(len(w.data)))
			if r.IntN(3) > 0 {
				kept = append(kept, write{at, w.data[at-w.at : end-w.at]})
			}
			at = end
		}
	}
	return patch(n.synced, kept)
}
