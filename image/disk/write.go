package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	diskfs "github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"golang.org/x/sync/errgroup"
)

const (
	// pieceSize is how much of a layer is copied at a time.
	pieceSize = 1 << 20
	// fatPiece is how much of the UKI is handed to the FAT at a time: each call rewrites both copies of the table.
	fatPiece = 32 << 20
	// bootPath is where firmware looks for a boot loader (UEFI specification, "Removable Media Boot Behavior").
	bootFolder = "/EFI/BOOT"
	bootPath   = bootFolder + "/BOOTX64.EFI"
)

// write fills the file: layers first, because the table's GUIDs are hashes of what the partitions hold.
func (l *Layout) write(ctx context.Context, f *os.File, s Spec) error {
	if err := f.Truncate(l.Size); err != nil {
		return err
	}
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return l.Partitions[0].copyFrom(inner, io.Discard, s.UKI) })
	for i := range s.Partitions {
		p := &l.Partitions[i+1]
		w := &sparseWriter{w: io.NewOffsetWriter(f, p.offset())}
		group.Go(func() error { return p.copyFrom(inner, w, s.Partitions[i].Path) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	l.name()
	d, err := diskfs.OpenBackend(storage{f}, diskfs.WithOpenMode(diskfs.ReadWrite))
	if err != nil {
		return fmt.Errorf("opening the image: %w", err)
	}
	if err := d.Partition(l.table()); err != nil {
		return fmt.Errorf("writing the partition table: %w", err)
	}
	if err := l.writeESP(ctx, d, s.UKI); err != nil {
		return fmt.Errorf("writing the ESP: %w", err)
	}
	esp := l.Partitions[0]
	size := int64(esp.LastLBA-esp.FirstLBA+1) * sectorSize //nolint:gosec // at most maxESP
	if err := repairFAT(io.NewSectionReader(f, esp.offset(), size), io.NewOffsetWriter(f, esp.offset())); err != nil {
		return fmt.Errorf("correcting the FAT: %w", err)
	}
	return nil
}

// offset is the partition's first byte on the disk.
func (p *Placed) offset() int64 { return int64(p.FirstLBA) * sectorSize } //nolint:gosec // at most maxPartitions*maxLayer

// copyFrom copies a whole input file and records its hash. The file must still have the size that was planned.
func (p *Placed) copyFrom(ctx context.Context, w io.Writer, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("opening input: %w", err)
	}
	defer in.Close() //nolint:errcheck // read side
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(w, h), contextReader{ctx, io.LimitReader(in, p.Bytes+1)}, make([]byte, pieceSize))
	if err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	if n != p.Bytes {
		return fmt.Errorf("copying %s: its size changed from %d bytes", name, p.Bytes)
	}
	p.SHA256 = [sha256.Size]byte(h.Sum(nil))
	return nil
}

// name gives every GUID; the disk's covers the hashes of all partitions.
func (l *Layout) name() {
	var all []byte
	for i := range l.Partitions {
		p := &l.Partitions[i]
		p.GUID = guid(strings.TrimPrefix(p.Name, NamePrefix), p.SHA256)
		all = append(all, p.SHA256[:]...)
	}
	l.GUID = guid("disk", sha256.Sum256(all))
}

// table is the partition table for go-diskfs. Every GUID is given: it fills gaps with random ones.
func (l *Layout) table() *gpt.Table {
	t := &gpt.Table{LogicalSectorSize: sectorSize, PhysicalSectorSize: sectorSize, ProtectiveMBR: true, GUID: l.GUID}
	for i, p := range l.Partitions {
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1, Start: p.FirstLBA, End: p.LastLBA, Type: gpt.Type(p.Type), Name: p.Name, GUID: p.GUID,
		})
	}
	return t
}

// writeESP formats the first partition and stores the UKI in it. What is stored must be what was hashed.
func (l *Layout) writeESP(ctx context.Context, d *disk.Disk, name string) error {
	fat, err := d.CreateFilesystem(disk.FilesystemSpec{Partition: 1, FSType: filesystem.TypeFat32, VolumeLabel: "ESP", Reproducible: true})
	if err != nil {
		return err
	}
	if err := fat.Mkdir(bootFolder); err != nil {
		return err
	}
	out, err := fat.OpenFile(bootPath, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	again := Placed{Bytes: l.Partitions[0].Bytes}
	buffered := &gatherWriter{w: out}
	err = again.copyFrom(ctx, buffered, name)
	if err = errors.Join(err, buffered.flush(), out.Close()); err != nil {
		return err
	}
	if again.SHA256 != l.Partitions[0].SHA256 {
		return fmt.Errorf("%s changed while the disk was written", name)
	}
	return nil
}

// storage is an open file as go-diskfs wants it. It has no Sync method on purpose: the library would wait for the
// storage four times per table, and a build's outputs are not a database.
type storage struct{ f *os.File }

var _ backend.Storage = storage{}

func (s storage) Stat() (os.FileInfo, error)                   { return s.f.Stat() }
func (s storage) Read(p []byte) (int, error)                   { return s.f.Read(p) }
func (s storage) ReadAt(p []byte, off int64) (int, error)      { return s.f.ReadAt(p, off) }
func (s storage) WriteAt(p []byte, off int64) (int, error)     { return s.f.WriteAt(p, off) }
func (s storage) Seek(offset int64, whence int) (int64, error) { return s.f.Seek(offset, whence) }
func (s storage) Close() error                                 { return nil } // Write closes the file
func (s storage) Sys() (*os.File, error)                       { return nil, backend.ErrNotSuitable }
func (s storage) Writable() (backend.WritableFile, error)      { return s, nil }
func (s storage) Path() string                                 { return "" }

// sparseWriter leaves out pieces of zeros: the file was made at its full size, so they are holes that read as zeros.
type sparseWriter struct {
	w   io.WriterAt
	off int64
}

// Write writes p unless it is all zeros.
func (s *sparseWriter) Write(p []byte) (int, error) {
	at := s.off
	s.off += int64(len(p))
	if len(bytes.TrimLeft(p, "\x00")) == 0 {
		return len(p), nil
	}
	return s.w.WriteAt(p, at)
}

// gatherWriter collects writes into pieces of fatPiece.
type gatherWriter struct {
	w   io.Writer
	buf []byte
}

// Write collects p.
func (g *gatherWriter) Write(p []byte) (int, error) {
	g.buf = append(g.buf, p...)
	if len(g.buf) < fatPiece {
		return len(p), nil
	}
	return len(p), g.flush()
}

// flush hands on what was collected.
func (g *gatherWriter) flush() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.w.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}

// contextReader stops when its context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // lives for one copy
	r   io.Reader
}

// Read reads unless the context has ended.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
