package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// volume is a file that hangs, or is full.
type volume struct {
	mu    sync.Mutex
	held  chan struct{} // writes wait for its end; nil: they do not
	full  error
	wrote bytes.Buffer
	shut  bool
}

func (v *volume) Write(p []byte) (int, error) {
	if v.held != nil {
		<-v.held
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.full != nil {
		return 0, v.full
	}
	return v.wrote.Write(p)
}

func (v *volume) Close() error { v.shut = true; return nil }

func TestEvidenceIsWrittenInOrder(t *testing.T) {
	t.Parallel()
	v := &volume{}
	u := newUnhurried(v)
	want := ""
	for i := range 1000 {
		line := fmt.Sprintln(i)
		want += line
		_, err := u.Write([]byte(line))
		require.NoError(t, err)
	}
	require.NoError(t, u.Close())
	assert.Equal(t, want, v.wrote.String())
	assert.True(t, v.shut)
	_, err := u.Write([]byte("late"))
	require.NoError(t, err)
	require.NoError(t, u.Close(), "twice")
}

// TestAFileThatHangsHoldsNobodyUp, and what is missing is said.
func TestAFileThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &volume{held: make(chan struct{})}
		u := newUnhurried(v)
		for range 2 * waitingLines {
			_, err := u.Write([]byte("line\n"))
			require.NoError(t, err)
		}
		require.ErrorContains(t, u.Close(), "takes nothing more since 5s")
		close(v.held)
	})
	synctest.Test(t, func(t *testing.T) {
		v := &volume{held: make(chan struct{})}
		u := newUnhurried(v)
		for range 2 * waitingLines {
			_, err := u.Write([]byte("line\n"))
			require.NoError(t, err)
		}
		close(v.held)
		require.ErrorContains(t, u.Close(), "lacks 409")
	})
}

func TestAFullDiskIsSaid(t *testing.T) {
	t.Parallel()
	u := newUnhurried(&volume{full: errors.New("no space left on device")})
	for range 3 * waitingLines {
		_, err := u.Write([]byte("line\n"))
		require.NoError(t, err)
	}
	require.ErrorContains(t, u.Close(), "no space left on device")
}
