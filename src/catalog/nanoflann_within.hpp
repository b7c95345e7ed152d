#pragma once

#include <cstddef>
#include <vector>

namespace bliss::catalog {

/// Collects what lies within a radius, for nanoflann. Our own, since the library's changed its types between versions.
struct Within {
    double radius_squared;
    std::vector<std::size_t> found;

    [[nodiscard]] std::size_t size() const { return found.size(); }
    [[nodiscard]] bool empty() const { return found.empty(); }
    [[nodiscard]] bool full() const { return true; }
    [[nodiscard]] double worstDist() const { return radius_squared; }
    void sort() {}
    bool addPoint(double distance_squared, std::size_t index) {
        if (distance_squared < radius_squared) found.push_back(index);
        return true;
    }
};

}  // namespace bliss::catalog
