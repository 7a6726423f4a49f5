package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// evidence is the document of gpu.md section 3.7.
type evidence struct {
	Schema        string        `json:"schema"`
	DriverVersion string        `json:"driver_version"`
	NVMLVersion   string        `json:"nvml_version"`
	Settings      settings      `json:"settings"`
	Ready         uint32        `json:"ready"`
	GPUs          []gpuEvidence `json:"gpus"`
}

// settings is the state of confidential computing as the driver tells it, unsigned.
type settings struct {
	Environment uint32 `json:"environment"` // 0 unavailable, 1 simulation, 2 production
	CCFeature   uint32 `json:"cc_feature"`  // 1 on
	DevTools    uint32 `json:"devtools"`    // 1 on
	// MultiGPU is null for a library that cannot tell: 0 none, 1 protected PCIe, 2 NVLink encryption.
	MultiGPU *uint32 `json:"multi_gpu"`
}

// gpuEvidence is one device's.
type gpuEvidence struct {
	UUID string `json:"uuid"`
	PCI  string `json:"pci"`
	Arch uint32 `json:"arch"` // 9 Hopper, 10 Blackwell
	// Report is SPDM GET_MEASUREMENTS ‖ MEASUREMENTS, Chain the PEM certificates of the attestation key.
	Report []byte `json:"report"`
	Chain  []byte `json:"chain"`
}

// collect asks every GPU for a report over the nonce.
func collect(s *session, nonce [nonceSize]byte) (any, error) {
	e := evidence{Schema: "cocoon.gpuattest.evidence/1", GPUs: []gpuEvidence{}}
	var err error
	if e.DriverVersion, err = s.text("nvmlSystemGetDriverVersion", s.lib.SystemGetDriverVersion); err != nil {
		return nil, err
	}
	if e.NVMLVersion, err = s.text("nvmlSystemGetNVMLVersion", s.lib.SystemGetNVMLVersion); err != nil {
		return nil, err
	}
	if e.Settings, err = s.settings(); err != nil {
		return nil, err
	}
	if e.Ready, err = s.ready(); err != nil {
		return nil, err
	}
	devices, err := s.devices()
	if err != nil {
		return nil, err
	}
	for i, d := range devices {
		g, err := s.device(d, nonce)
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, err)
		}
		e.GPUs = append(e.GPUs, g)
	}
	return e, nil
}

func (s *session) text(symbol string, f func() (string, nvml.Return)) (text string, err error) {
	err = s.call(symbol, func() (code nvml.Return) {
		text, code = f()
		return code
	})
	return text, err
}

// settings prefers the call that knows the multi-GPU mode; libraries before 550 lack it. What a failed call leaves in
// its struct is never read as a state (gpu.md section 3.2).
func (s *session) settings() (settings, error) {
	if s.has("nvmlSystemGetConfComputeSettings") {
		var got nvml.SystemConfComputeSettings
		err := s.call("nvmlSystemGetConfComputeSettings", func() (code nvml.Return) {
			got, code = s.lib.SystemGetConfComputeSettings()
			return code
		})
		if err != nil {
			return settings{}, err
		}
		return settings{got.Environment, got.CcFeature, got.DevToolsMode, &got.MultiGpuMode}, nil
	}
	var got nvml.ConfComputeSystemState
	err := s.call("nvmlSystemGetConfComputeState", func() (code nvml.Return) {
		got, code = s.lib.SystemGetConfComputeState()
		return code
	})
	if err != nil {
		return settings{}, err
	}
	return settings{got.Environment, got.CcFeature, got.DevToolsMode, nil}, nil
}

func (s *session) ready() (state uint32, err error) {
	err = s.call("nvmlSystemGetConfComputeGpusReadyState", func() (code nvml.Return) {
		state, code = s.lib.SystemGetConfComputeGpusReadyState()
		return code
	})
	return state, err
}

// device collects one GPU's evidence.
func (s *session) device(d nvml.Device, nonce [nonceSize]byte) (gpuEvidence, error) {
	var g gpuEvidence
	var err error
	if g.UUID, err = s.text("nvmlDeviceGetUUID", d.GetUUID); err != nil {
		return g, err
	}
	if g.PCI, err = s.pci(d); err != nil {
		return g, err
	}
	err = s.call("nvmlDeviceGetArchitecture", func() nvml.Return {
		arch, code := d.GetArchitecture()
		g.Arch = uint32(arch)
		return code
	})
	if err != nil {
		return g, err
	}
	report := nvml.ConfComputeGpuAttestationReport{Nonce: nonce}
	err = s.call("nvmlDeviceGetConfComputeGpuAttestationReport", func() nvml.Return {
		return d.GetConfComputeGpuAttestationReport(&report)
	})
	if err != nil {
		return g, err
	}
	if g.Report, err = cut(report.AttestationReport[:], report.AttestationReportSize); err != nil {
		return g, fmt.Errorf("reading the attestation report: %w", err)
	}
	var certificate nvml.ConfComputeGpuCertificate
	err = s.call("nvmlDeviceGetConfComputeGpuCertificate", func() (code nvml.Return) {
		certificate, code = d.GetConfComputeGpuCertificate()
		return code
	})
	if err != nil {
		return g, err
	}
	// PEM text may come with the NUL that ends it in C; nothing else is taken off.
	if g.Chain, err = cut(certificate.AttestationCertChain[:], certificate.AttestationCertChainSize); err != nil {
		return g, fmt.Errorf("reading the certificate chain: %w", err)
	}
	g.Chain = bytes.TrimSuffix(g.Chain, []byte{0})
	return g, nil
}

func (s *session) pci(d nvml.Device) (string, error) {
	var info nvml.PciInfo
	err := s.call("nvmlDeviceGetPciInfo_v3", func() (code nvml.Return) {
		info, code = d.GetPciInfo()
		return code
	})
	if err != nil {
		return "", err
	}
	raw := make([]byte, 0, len(info.BusId))
	for _, c := range info.BusId {
		if c == 0 {
			return string(raw), nil
		}
		raw = append(raw, byte(c)) //nolint:gosec // C's char
	}
	return "", errors.New("the bus address does not end")
}

// cut takes the part of a buffer that the library says it filled.
func cut(buffer []byte, size uint32) ([]byte, error) {
	if size == 0 || uint64(size) > uint64(len(buffer)) {
		return nil, fmt.Errorf("%d bytes, want 1..%d", size, len(buffer))
	}
	return bytes.Clone(buffer[:size]), nil
}

// readyDocument is what `ready` prints.
type readyDocument struct {
	Schema string `json:"schema"`
	Ready  uint32 `json:"ready"`
}

// setReady lets the GPUs accept work and reads the state back. It cannot be taken back: the init calls this after its
// verdict and never before (gpu.md section 3.5).
func setReady(s *session) (any, error) {
	const accept = 1
	err := s.call("nvmlSystemSetConfComputeGpusReadyState", func() nvml.Return {
		return s.lib.SystemSetConfComputeGpusReadyState(accept)
	})
	if err != nil {
		return nil, err
	}
	state, err := s.ready()
	if err != nil {
		return nil, err
	}
	if state != accept {
		return nil, fmt.Errorf("the GPUs' ready state is %d after it was set to %d", state, accept)
	}
	return readyDocument{"cocoon.gpuattest.ready/1", state}, nil
}
