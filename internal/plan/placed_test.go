package plan

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestThePodsOfASideAreNotTheOthers(t *testing.T) {
	matches := func(side, pod string) bool { return regexp.MustCompile("^(?:" + podsOf(side) + ")$").MatchString(pod) }
	assert.True(t, matches("cart", "cart-5d4f9c7b8d-x2x9z"))
	assert.True(t, matches("cart-gray", "cart-gray-5d4f9c7b8d-x2x9z"))
	assert.False(t, matches("cart", "cart-gray-5d4f9c7b8d-x2x9z"))
	assert.False(t, matches("cart-gray", "cart-5d4f9c7b8d-x2x9z"))
	assert.False(t, matches("cart", "cart-api-5d4f9c7b8d-x2x9z"))
}
