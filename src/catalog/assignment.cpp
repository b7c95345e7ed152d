#include "bliss/catalog/assignment.hpp"

#include "bliss/core/check.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>

namespace bliss::catalog {

namespace {

constexpr std::size_t k_none = std::numeric_limits<std::size_t>::max();
constexpr std::int64_t k_far = std::numeric_limits<std::int64_t>::max();

/// A matching that grows by one pair at a time. Costs are whole numbers of 1e-9, so that sums and differences along a path
/// are exact: rounding could make a round trip look shorter than nothing and the search endless.
class Matching {
public:
    Matching(std::size_t left_count, std::size_t right_count, std::span<const Edge> edges)
        : edges_{edges}, edge_of_left_(left_count, k_none), edge_of_right_(right_count, k_none), edges_from_(left_count) {
        costs_.reserve(edges.size());
        for (std::size_t e = 0; e < edges.size(); ++e) {
            BLISS_EXPECT(edges[e].left < left_count && edges[e].right < right_count, "an edge joins nodes that are there");
            costs_.push_back(std::llround(edges[e].cost * 1e9));
            edges_from_[edges[e].left].push_back(e);
        }
    }

    /// Adds a pair by the cheapest augmenting path; false when no path is left.
    bool augment() {
        const std::size_t end = shortest_path();
        if (end == k_none) return false;
        for (std::size_t right = end; right != k_none;) {
            const std::size_t edge = path_edge_[right];
            const std::size_t left = edges_[edge].left;
            const std::size_t before = edge_of_left_[left];
            edge_of_left_[left] = edge;
            edge_of_right_[right] = edge;
            right = before == k_none ? k_none : edges_[before].right;
        }
        return true;
    }

    [[nodiscard]] std::vector<std::size_t> edges() const {
        std::vector<std::size_t> chosen;
        for (const std::size_t edge : edge_of_left_)
            if (edge != k_none) chosen.push_back(edge);
        std::ranges::sort(chosen);
        return chosen;
    }

private:
    /// From all unmatched left nodes, over edges and back over matched edges (which refund their cost), to the nearest
    /// unmatched right node; `path_edge_` then leads back. Refunds make negative steps, hence Bellman-Ford with a queue.
    std::size_t shortest_path() {
        std::vector<std::int64_t> left_distance(edge_of_left_.size(), k_far);
        std::vector<std::int64_t> right_distance(edge_of_right_.size(), k_far);
        std::vector<char> queued(edge_of_left_.size(), 0);
        path_edge_.assign(edge_of_right_.size(), k_none);
        std::deque<std::size_t> queue;
        for (std::size_t left = 0; left < edge_of_left_.size(); ++left) {
            if (edge_of_left_[left] != k_none) continue;
            left_distance[left] = 0;
            queue.push_back(left);
            queued[left] = 1;
        }
        while (!queue.empty()) {
            const std::size_t left = queue.front();
            queue.pop_front();
            queued[left] = 0;
            for (const std::size_t edge : edges_from_[left]) {
                const std::size_t right = edges_[edge].right;
                if (edge == edge_of_left_[left] || left_distance[left] + costs_[edge] >= right_distance[right]) continue;
                right_distance[right] = left_distance[left] + costs_[edge];
                path_edge_[right] = edge;
                const std::size_t matched = edge_of_right_[right];
                if (matched == k_none) continue;
                const std::size_t next = edges_[matched].left;
                left_distance[next] = right_distance[right] - costs_[matched];
                if (!queued[next]) queue.push_back(next);
                queued[next] = 1;
            }
        }
        std::size_t nearest = k_none;
        for (std::size_t right = 0; right < edge_of_right_.size(); ++right)
            if (edge_of_right_[right] == k_none && right_distance[right] < k_far &&
                (nearest == k_none || right_distance[right] < right_distance[nearest]))
                nearest = right;
        return nearest;
    }

    std::span<const Edge> edges_;
    std::vector<std::int64_t> costs_;
    std::vector<std::size_t> edge_of_left_;
    std::vector<std::size_t> edge_of_right_;
    std::vector<std::vector<std::size_t>> edges_from_;
    std::vector<std::size_t> path_edge_;
};

}  // namespace

std::vector<std::size_t> assign(std::size_t left_count, std::size_t right_count, std::span<const Edge> edges) {
    Matching matching{left_count, right_count, edges};
    while (matching.augment()) {
    }
    return matching.edges();
}

}  // namespace bliss::catalog
