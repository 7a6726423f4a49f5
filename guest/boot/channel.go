package boot

import (
	"context"
	"errors"
	"fmt"
	"os"

	"cocoon/guest/config"
	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
)

// channel is one way in for the configuration (image.md section 14). What comes in is measured, whatever the way.
type channel struct {
	name string
	read func(ctx context.Context, st *State) (*config.Document, error)
	// absent is the error that means that nothing is there, so that the next channel is asked.
	absent error
}

// channels lists where a variant takes its configuration from, in order. The disk is production's only one, and a
// variant that this table does not know gets no more than that.
func channels(v bootfiles.Variant) []channel {
	disk := channel{"disk", readConfigDisk, storage.ErrNoDevice}
	switch v {
	case bootfiles.Debug, bootfiles.Test:
		return []channel{disk, {"fw_cfg", readFWConfig, os.ErrNotExist}}
	case bootfiles.Production:
	}
	return []channel{disk}
}

// runConfig reads the configuration once, measures the spec, and only then uses it.
func runConfig(ctx context.Context, st *State) error {
	doc, err := st.readConfig(ctx)
	if err != nil {
		return err
	}
	st.Detail("spec", doc.SpecHash.String())
	st.Detail("files", len(doc.Files))
	st.Detail("runtime", doc.HasRuntime)
	if _, err := st.Extend(spec.SpecTreeMessage(doc.SpecHash)); err != nil {
		return err
	}
	if doc.Measured.Role != st.Image.Profile {
		return fmt.Errorf("the spec is for a %s, this image is a %s", doc.Measured.Role, st.Image.Profile)
	}
	st.SpecHash, st.Spec, st.Measured, st.Runtime = doc.SpecHash, doc.Files, doc.Measured, doc.Runtime
	st.deps.Level.Set(doc.Runtime.Level())
	return nil
}

// readConfig asks the variant's channels until one has something. What the first one misses is the error: it is the
// one that every variant has.
func (st *State) readConfig(ctx context.Context) (*config.Document, error) {
	var missing error
	for _, c := range channels(st.Image.Variant) {
		doc, err := c.read(ctx, st)
		switch {
		case err == nil:
			st.Detail("channel", c.name)
			return doc, nil
		case !errors.Is(err, c.absent):
			return nil, err
		case missing == nil:
			missing = err
		}
	}
	return nil, missing
}

func readConfigDisk(ctx context.Context, st *State) (*config.Document, error) {
	dev, err := st.findWithin(ctx, config.DiskSerial)
	if err != nil {
		return nil, err
	}
	disk, err := st.deps.OpenDisk(dev)
	if err != nil {
		return nil, err
	}
	doc, err := config.ReadDisk(disk, dev.Bytes)
	return doc, errors.Join(err, disk.Close())
}

func readFWConfig(_ context.Context, st *State) (*config.Document, error) {
	return config.ReadFWConfig(os.DirFS(st.path(config.FWConfigRoot)))
}
