#pragma once

#include "bliss/simulator/simulation.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bliss::simulator {

/// What one image is made from: drawn on cores, whatever makes the pixels.
struct ImagePlan {
    ImageTruth truth;
    std::vector<Gaussian> light;
    std::vector<BadRectangle> bad;
};

/// Plans of a range's images, drawn by the threads of whoever asks. @throws ConfigError for learnt galaxies without a decoder.
[[nodiscard]] std::vector<ImagePlan> plan_images(const SimulatorConfig& config, const GalaxyDecoder* decoder, const SampleRange& range,
                                                 std::int64_t images, std::int64_t height, std::int64_t width);

/// Plans of some images in one block of bytes, to be copied to where `make_images` runs.
class PackedPlans {
public:
    explicit PackedPlans(std::span<const ImagePlan> plans);

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

    /// The lists of a copy that begins at a place in any memory.
    struct Lists {
        const Gaussian* light;
        const BadRectangle* bad;
        const std::int64_t* first_light;    ///< images + 1 places in `light`
        const std::int64_t* first_bad;      ///< images + 1 places in `bad`
        const float* sky_and_saturation_e;  ///< of each image
        std::int64_t images;
    };
    [[nodiscard]] Lists at(const std::byte* begin) const;

private:
    std::vector<std::byte> bytes_;
    std::int64_t images_, light_, bad_;
};

/// The GPU that Kokkos, and so `make_images`, runs on; -1 where that is the cores.
[[nodiscard]] int gpu();

/// Whether `make_images` can make such images.
[[nodiscard]] bool makes_images(const SimulatorConfig& config);

/// Makes the pixels of planned images, in one pass over them, where Kokkos runs: on a GPU where it was built for one. The same images as
/// `simulate` makes, up to rounding; the same bits every time. On a GPU it comes back at once, and what is asked of the default stream
/// after it waits for it. Several threads may call it.
/// @param bytes the plans' bytes, and @param target pixels, both in memory of that place; numbers of the noise come from `range`
void make_images(const PackedPlans& plans, const std::byte* bytes, const SampleRange& range, const SimulationTarget& target);

}  // namespace bliss::simulator
