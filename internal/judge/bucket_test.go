package judge

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSampleSurvivesJSON(t *testing.T) {
	want := Sample{OnTrial: Numbers{Traffic: Traffic{Requests: 3, Latency: []Bucket{{0.1, 2}, {math.Inf(1), 3}}}}}
	data, err := json.Marshal(want)
	require.NoError(t, err)
	var got Sample
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, want, got)
}

func TestBucketRefusesABoundThatIsNone(t *testing.T) {
	var b Bucket
	require.ErrorContains(t, json.Unmarshal([]byte(`{"le":"soon","count":1}`), &b), "bound of a latency bucket")
	require.Error(t, json.Unmarshal([]byte(`7`), &b))
}
