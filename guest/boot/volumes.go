package boot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"cocoon/guest/config"
	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
)

const (
	// ModelSerial is the virtio serial of the model volume.
	ModelSerial = "model"
	// ModelDir is where it is mounted.
	ModelDir = "/run/model"
)

// runBase reads the layer table and opens the base layers.
func runBase(ctx context.Context, st *State) error {
	raw, err := st.readBootFile(bootfiles.LayersPath)
	if err != nil {
		return err
	}
	if st.Layers, err = bootfiles.ParseLayers(raw); err != nil {
		return err
	}
	if len(st.LayersOf(bootfiles.RoleBase)) == 0 {
		return fmt.Errorf("%s has no layer of role %s", bootfiles.LayersPath, bootfiles.RoleBase)
	}
	return st.openLayers(ctx, bootfiles.RoleBase)
}

// runGPU opens the GPU layer; its modules, attestation and ready state are the hook's.
func runGPU(ctx context.Context, st *State) error {
	if len(st.LayersOf(bootfiles.RoleGPU)) == 0 {
		return &SkipError{Reason: "the image has no gpu layer"}
	}
	if st.deps.Hooks.GPU == nil { // before the layer is opened: nothing of it may run unattested
		return &NotInBuildError{Stage: StageGPU}
	}
	if err := st.openLayers(ctx, bootfiles.RoleGPU); err != nil {
		return err
	}
	return st.deps.Hooks.GPU(ctx, st)
}

// runModel opens the volume that the measured spec names.
func runModel(ctx context.Context, st *State) error {
	m := st.Measured.Model
	if m == nil {
		return &SkipError{Reason: "the spec names no model"}
	}
	root, err := m.RootHash()
	if err != nil {
		return err
	}
	opened, err := st.openVolumes(ctx, storage.Volume{
		Name: ModelSerial, DataBlocks: m.DataBlocks, HashStartBlock: m.HashStartBlock(), HashBlocks: m.HashBlocks(),
		RootHash: root, Salt: m.Salt, Mount: ModelDir, OnError: storage.ReturnErrors, Archive: m.Format == config.FormatTar, Identity: m.ID,
	})
	if err != nil {
		return err
	}
	st.ModelDir, st.ModelNode = ModelDir, opened[0].Node
	hash := m.Hash()
	st.Detail("model", m.ID)
	st.Detail("model_hash", hex.EncodeToString(hash[:]))
	return nil
}

// runEngine opens the engine layers and hands over to the engine's hook.
func runEngine(ctx context.Context, st *State) error {
	if len(st.LayersOf(bootfiles.RoleEngine)) == 0 {
		return &SkipError{Reason: "the image has no engine layer"}
	}
	if err := st.openLayers(ctx, bootfiles.RoleEngine); err != nil {
		return err
	}
	if st.deps.Hooks.Engine == nil {
		return &NotInBuildError{Stage: StageEngine}
	}
	return st.deps.Hooks.Engine(ctx, st)
}

func (st *State) openLayers(ctx context.Context, role bootfiles.Role) error {
	layers := st.LayersOf(role)
	volumes := make([]storage.Volume, 0, len(layers))
	for _, l := range layers {
		volumes = append(volumes, storage.Volume{
			Name: l.ID, DataBlocks: l.DataBlocks, HashStartBlock: l.HashStartBlock, HashBlocks: l.HashBlocks,
			RootHash: l.RootHash, Salt: l.Salt, Mount: l.Mount, OnError: storage.PanicOnError,
		})
	}
	_, err := st.openVolumes(ctx, volumes...)
	return err
}

// openVolumes opens all of them, or returns an error.
func (st *State) openVolumes(ctx context.Context, volumes ...storage.Volume) ([]storage.Opened, error) {
	ctl, err := st.deps.OpenControl()
	if err != nil {
		return nil, err
	}
	opened := make([]storage.Opened, 0, len(volumes))
	told := make([]map[string]any, 0, len(volumes))
	opener := storage.Opener{
		Find: st.findWithin, Control: ctl, Kernel: st.deps.Kernel, Read: st.deps.OpenDisk, Attach: st.deps.AttachArchive,
	}
	for _, v := range volumes {
		o, openErr := opener.Open(ctx, v)
		if openErr != nil {
			err = openErr
			break
		}
		st.keepVolume(v)
		facts := map[string]any{"id": v.Name, "disk": o.Device.Name, "node": o.Node, "mount": v.Mount, "root": v.RootHash}
		if v.Archive {
			facts["members"] = o.Members
		}
		opened, told = append(opened, o), append(told, facts)
	}
	if len(told) > 0 {
		st.Detail("volumes", told)
	}
	if c, ok := ctl.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return opened, err
}

// findWithin bounds the wait for one disk.
func (st *State) findWithin(ctx context.Context, name string) (storage.Device, error) {
	ctx, cancel := context.WithTimeout(ctx, diskWait)
	defer cancel()
	return st.deps.FindDisk(ctx, name)
}

func (st *State) keepVolume(v storage.Volume) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.volumes = append(st.volumes, volume{name: v.Name, mount: v.Mount})
}
