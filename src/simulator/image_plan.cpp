#include "bliss/simulator/image_plan.hpp"

#include "bliss/core/check.hpp"
#include "fast_math.hpp"
#include "noise.hpp"

#include <Kokkos_Core.hpp>

#include <iterator>

namespace bliss::simulator {
namespace {

using Space = Kokkos::DefaultExecutionSpace;

/// Lists begin at multiples of this.
constexpr std::int64_t k_alignment = 16;

template <class T>
std::int64_t room_for(std::int64_t count) {
    return (count * static_cast<std::int64_t>(sizeof(T)) + k_alignment - 1) / k_alignment * k_alignment;
}

}  // namespace

/// Makes four pixels that are neighbours in memory.
struct MakePixels {
    PackedPlans::Lists lists;
    SimulationTarget target;
    NoiseKey noise;

    KOKKOS_FUNCTION void operator()(const std::int64_t work) const {
        const std::int64_t width = target.block.width, pixels = target.block.height * width, quads = (pixels + 3) / 4;
        const std::int64_t image = work / quads, quad = work % quads;
        const int count = pixels - 4 * quad < 4 ? static_cast<int>(pixels - 4 * quad) : 4;
        const float sky = lists.sky_and_saturation_e[2 * image], saturation = lists.sky_and_saturation_e[2 * image + 1];
        std::int32_t row[4], col[4];
        float expected[4];
        for (int k = 0; k < 4; ++k) {
            const std::int64_t pixel = 4 * quad + (k < count ? k : count - 1);
            row[k] = static_cast<std::int32_t>(pixel / width);
            col[k] = static_cast<std::int32_t>(pixel % width);
            expected[k] = sky;
        }
        for (std::int64_t at = lists.first_light[image]; at < lists.first_light[image + 1]; ++at) {
            const Gaussian& g = lists.light[at];
            if (row[3] < g.row - g.half_height || row[0] > g.row + g.half_height) continue;
            for (int k = 0; k < 4; ++k) {
                const float dx = static_cast<float>(col[k] - g.col) - g.dx0, dy = static_cast<float>(row[k] - g.row) - g.dy0;
                const float exponent = (g.a * dx + 2 * g.b * dy) * dx + g.c * dy * dy;
                if (exponent <= g.reach) expected[k] += g.amplitude * fast_exp(-exponent);
            }
        }
        float normals[4];
        four_normals(noise, static_cast<std::uint32_t>(image), static_cast<std::uint32_t>(quad), normals);
        for (int k = 0; k < count; ++k) {
            const float electrons = expected[k] + std::sqrt(expected[k]) * normals[k];
            bool valid = electrons < saturation;
            for (std::int64_t at = lists.first_bad[image]; at < lists.first_bad[image + 1]; ++at) {
                const BadRectangle& bad = lists.bad[at];
                const bool inside = row[k] >= bad.row && row[k] < bad.row + bad.rows && col[k] >= bad.col && col[k] < bad.col + bad.cols;
                valid = valid && !inside;
            }
            target.block.electrons[image * pixels + 4 * quad + k] = valid ? electrons : sky;
            target.valid[image * pixels + 4 * quad + k] = valid ? 1 : 0;
        }
    }
};

PackedPlans::PackedPlans(std::span<const ImagePlan> plans) : images_{std::ssize(plans)} {
    std::vector<std::int64_t> first_light{0}, first_bad{0};
    for (const ImagePlan& plan : plans) {
        first_light.push_back(first_light.back() + std::ssize(plan.light));
        first_bad.push_back(first_bad.back() + std::ssize(plan.bad));
    }
    light_ = first_light.back();
    bad_ = first_bad.back();
    const auto append = [&]<class T>(const T* from, std::size_t count) {
        const auto* const bytes = reinterpret_cast<const std::byte*>(from);
        bytes_.insert(bytes_.end(), bytes, bytes + count * sizeof(T));
    };
    const auto align = [&] { bytes_.resize(static_cast<std::size_t>(room_for<std::byte>(std::ssize(bytes_)))); };
    for (const ImagePlan& plan : plans) append(plan.light.data(), plan.light.size());
    align();
    for (const ImagePlan& plan : plans) append(plan.bad.data(), plan.bad.size());
    align();
    for (const auto* const first : {&first_light, &first_bad}) {
        append(first->data(), first->size());
        align();
    }
    for (const ImagePlan& plan : plans) {
        const Conditions& conditions = plan.truth.conditions;
        const float numbers[] = {static_cast<float>(conditions.background_e), static_cast<float>(conditions.saturation_e)};
        append(numbers, std::size(numbers));
    }
}

PackedPlans::Lists PackedPlans::at(const std::byte* begin) const {
    const auto next = [&]<class T>(const T*& list, std::int64_t count) {
        list = reinterpret_cast<const T*>(begin);
        begin += room_for<T>(count);
    };
    Lists lists{};
    next(lists.light, light_);
    next(lists.bad, bad_);
    next(lists.first_light, images_ + 1);
    next(lists.first_bad, images_ + 1);
    next(lists.sky_and_saturation_e, 2 * images_);
    lists.images = images_;
    return lists;
}

int gpu() {
    return [](const auto& space) {
        if constexpr (requires { space.cuda_device(); }) {
            return space.cuda_device();
        } else {
            return -1;
        }
    }(Space{});
}

bool makes_images(const SimulatorConfig& config) { return config.noise == NoiseKind::normal; }

void make_images(const PackedPlans& plans, const std::byte* bytes, const SampleRange& range, const SimulationTarget& target) {
    const PackedPlans::Lists lists = plans.at(bytes);
    BLISS_EXPECT(lists.images == target.block.images, "a plan for every image");
    const std::int64_t quads = (target.block.height * target.block.width + 3) / 4;
    // On a GPU Kokkos' own stream is one that the default stream waits for, and that waits for the default stream.
    Kokkos::parallel_for("bliss::make_images", Kokkos::RangePolicy<Space>(0, lists.images * quads),
                         MakePixels{lists, target, {range.seed, range.step, range.first_sample}});
}

}  // namespace bliss::simulator
