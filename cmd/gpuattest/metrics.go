package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// answerTimeout bounds the writing of one answer.
const answerTimeout = 10 * time.Second

// metrics is what a connection reads: one document, then the end. What a device does not support is absent, never zero
// (gpu.md section 21).
type metrics struct {
	Schema string       `json:"schema"`
	Driver string       `json:"driver"`
	Ready  *uint32      `json:"ready,omitempty"`
	GPUs   []gpuMetrics `json:"gpus"`
}

// gpuMetrics is one device's counters; memory in bytes, power in milliwatts, temperature in degrees Celsius.
type gpuMetrics struct {
	UUID           string   `json:"uuid"`
	Name           string   `json:"name,omitempty"`
	Utilisation    *uint32  `json:"utilisation,omitempty"` // percent
	Memory         *usage64 `json:"memory,omitempty"`
	Protected      *usage64 `json:"protected_memory,omitempty"`
	Temperature    *uint32  `json:"temperature,omitempty"`
	Power          *uint32  `json:"power,omitempty"`
	PowerLimit     *uint32  `json:"power_limit,omitempty"`
	ECCCorrected   *uint64  `json:"ecc_corrected,omitempty"`   // since the driver was loaded
	ECCUncorrected *uint64  `json:"ecc_uncorrected,omitempty"` // since the driver was loaded
	RemappedRows   *int     `json:"remapped_rows,omitempty"`   // because of uncorrectable errors
}

type usage64 struct {
	Used  uint64 `json:"used"`
	Total uint64 `json:"total"`
}

// serve answers on a Unix socket until the context ends: initialising the library costs far more than asking it. A call
// that hangs ends the process, and whoever supervises it starts it again.
func serve(ctx context.Context, s *session, socket string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("serving metrics: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // Accept reports it
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serving metrics: %w", err)
		}
		if err := answer(s, conn); err != nil {
			return err
		}
	}
}

// answer writes one document; a reader that goes away is no error of ours.
func answer(s *session, conn net.Conn) error {
	defer conn.Close() //nolint:errcheck // the reader saw the end or is gone
	m, err := s.metrics()
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil // the reader is gone
	}
	_ = writeDocument(conn, m) // a reader that went away is served no better by an error
	return nil
}

// metrics reads every counter of every device.
func (s *session) metrics() (*metrics, error) {
	m := &metrics{Schema: "cocoon.gpuattest.metrics/1", GPUs: []gpuMetrics{}}
	var err error
	if m.Driver, err = s.text("nvmlSystemGetDriverVersion", s.lib.SystemGetDriverVersion); err != nil {
		return nil, err
	}
	if state, err := s.ready(); err == nil {
		m.Ready = &state
	} else if !isAbsent(err) {
		return nil, err
	}
	devices, err := s.devices()
	if err != nil {
		return nil, err
	}
	for i, d := range devices {
		g, err := s.counters(d)
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, err)
		}
		m.GPUs = append(m.GPUs, g)
	}
	return m, nil
}

// isAbsent tells what a device or library does not have from what went wrong.
func isAbsent(err error) bool {
	var failed *callError
	if !errors.As(err, &failed) {
		return false
	}
	return failed.code == nvml.ERROR_NOT_SUPPORTED || failed.code == nvml.ERROR_FUNCTION_NOT_FOUND
}

// counters reads one device.
func (s *session) counters(d nvml.Device) (gpuMetrics, error) {
	var g gpuMetrics
	var err error
	if g.UUID, err = s.text("nvmlDeviceGetUUID", d.GetUUID); err != nil {
		return g, err
	}
	for _, row := range s.counterTable(d, &g) {
		if err := s.call(row.symbol, row.read); err != nil && !isAbsent(err) {
			return g, err
		}
	}
	return g, nil
}

// counterRow is one call and where its value goes.
type counterRow struct {
	symbol string
	read   func() nvml.Return
}

// counterTable lists what is read of a device.
func (s *session) counterTable(d nvml.Device, g *gpuMetrics) []counterRow {
	return []counterRow{
		{"nvmlDeviceGetName", func() nvml.Return {
			name, code := d.GetName()
			return keep(&g.Name, name, code)
		}},
		{"nvmlDeviceGetUtilizationRates", func() nvml.Return {
			rates, code := d.GetUtilizationRates()
			return keep(&g.Utilisation, &rates.Gpu, code)
		}},
		{"nvmlDeviceGetMemoryInfo_v2", func() nvml.Return {
			info, code := d.GetMemoryInfo_v2()
			return keep(&g.Memory, &usage64{info.Used, info.Total}, code)
		}},
		{"nvmlDeviceGetConfComputeProtectedMemoryUsage", func() nvml.Return {
			info, code := d.GetConfComputeProtectedMemoryUsage()
			return keep(&g.Protected, &usage64{info.Used, info.Total}, code)
		}},
		s.temperatureRow(d, g),
		{"nvmlDeviceGetPowerUsage", func() nvml.Return {
			milliwatts, code := d.GetPowerUsage()
			return keep(&g.Power, &milliwatts, code)
		}},
		{"nvmlDeviceGetEnforcedPowerLimit", func() nvml.Return {
			milliwatts, code := d.GetEnforcedPowerLimit()
			return keep(&g.PowerLimit, &milliwatts, code)
		}},
		{"nvmlDeviceGetTotalEccErrors", func() nvml.Return {
			count, code := d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC)
			return keep(&g.ECCCorrected, &count, code)
		}},
		{"nvmlDeviceGetTotalEccErrors", func() nvml.Return {
			count, code := d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
			return keep(&g.ECCUncorrected, &count, code)
		}},
		{"nvmlDeviceGetRemappedRows", func() nvml.Return {
			_, rows, _, _, code := d.GetRemappedRows()
			return keep(&g.RemappedRows, &rows, code)
		}},
	}
}

// temperatureRow prefers the call that replaces the deprecated one; driver 550 has only the latter.
func (s *session) temperatureRow(d nvml.Device, g *gpuMetrics) counterRow {
	if s.has("nvmlDeviceGetTemperatureV") {
		return counterRow{"nvmlDeviceGetTemperatureV", func() nvml.Return {
			t, code := d.GetTemperatureV().V1()
			degrees := uint32(max(t.Temperature, 0))
			return keep(&g.Temperature, &degrees, code)
		}}
	}
	return counterRow{"nvmlDeviceGetTemperature", func() nvml.Return {
		degrees, code := d.GetTemperature(nvml.TEMPERATURE_GPU)
		return keep(&g.Temperature, &degrees, code)
	}}
}

// keep stores a value unless the call failed: what a failed call returns is no value.
func keep[T any](to *T, value T, code nvml.Return) nvml.Return {
	if code == nvml.SUCCESS {
		*to = value
	}
	return code
}
