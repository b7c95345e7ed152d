#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace bliss::catalog {

/// A possible pair: node `left` of one side, node `right` of the other, and what pairing them costs.
struct Edge {
    std::size_t left = 0;
    std::size_t right = 0;
    double cost = 0;  ///< not negative, at most 1e6
};

/// Chooses edges that share no node: as many as possible, and among all such choices the one of least total cost (to within
/// 1e-9 of a cost). Returns their positions in `edges`, ascending.
///
/// Exact: augments along shortest paths, so that after each step the matching is the cheapest of its size.
/// Cost: pairs x nodes x edges at worst; meant for connected components, which are small.
/// @source Ahuja, Magnanti and Orlin, "Network Flows" (1993), section 9.7: successive shortest paths.
[[nodiscard]] std::vector<std::size_t> assign(std::size_t left_count, std::size_t right_count, std::span<const Edge> edges);

}  // namespace bliss::catalog
