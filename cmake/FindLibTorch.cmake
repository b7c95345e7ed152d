# Defines LibTorch::LibTorch from the unpacked wheel under BLISS_DEPS (CPU libraries), or from a site's Torch package.
# The wheel's include folder also holds other versions of fmt and more, so it comes after every other include folder.
include(FindPackageHandleStandardArgs)

if(NOT BLISS_DEPS_TORCH)
  set(BLISS_DEPS_TORCH "${BLISS_DEPS}/libtorch/torch")
endif()

if(EXISTS "${BLISS_DEPS_TORCH}/lib/libtorch_cpu.so")
  set(LibTorch_ROOT_DIR "${BLISS_DEPS_TORCH}")
  file(READ "${LibTorch_ROOT_DIR}/include/torch/headeronly/version.h" _torch_version_h)
  string(REGEX MATCH "TORCH_VERSION_MAJOR ([0-9]+)" _ "${_torch_version_h}")
  set(LibTorch_VERSION "${CMAKE_MATCH_1}")
  string(REGEX MATCH "TORCH_VERSION_MINOR ([0-9]+)" _ "${_torch_version_h}")
  string(APPEND LibTorch_VERSION ".${CMAKE_MATCH_1}")
  if(NOT TARGET LibTorch::LibTorch)
    set(_lib "${LibTorch_ROOT_DIR}/lib")
    add_library(LibTorch::LibTorch INTERFACE IMPORTED)
    target_compile_options(LibTorch::LibTorch INTERFACE
      "SHELL:-idirafter ${LibTorch_ROOT_DIR}/include"
      "SHELL:-idirafter ${LibTorch_ROOT_DIR}/include/torch/csrc/api/include")
    target_link_libraries(LibTorch::LibTorch INTERFACE "${_lib}/libtorch_cpu.so" "${_lib}/libc10.so")
    target_link_options(LibTorch::LibTorch INTERFACE
      "LINKER:-rpath,${_lib}" "LINKER:-rpath-link,${LibTorch_ROOT_DIR}/../nvidia/cu13/lib")
    if(EXISTS "${_lib}/libtorch_cuda.so")
      set(LibTorch_HAS_CUDA ON)
      target_link_libraries(LibTorch::LibTorch INTERFACE "${_lib}/libtorch_cuda.so" "${_lib}/libc10_cuda.so")
      target_link_options(LibTorch::LibTorch INTERFACE "LINKER:--allow-shlib-undefined")
    endif()
  endif()
else()
  find_package(Torch CONFIG QUIET)
  if(Torch_FOUND)
    set(LibTorch_ROOT_DIR "${TORCH_INSTALL_PREFIX}")
    set(LibTorch_VERSION "${Torch_VERSION}")
    set(LibTorch_HAS_CUDA "${TORCH_CUDA_LIBRARIES}")
    if(NOT TARGET LibTorch::LibTorch)
      add_library(LibTorch::LibTorch INTERFACE IMPORTED)
      target_link_libraries(LibTorch::LibTorch INTERFACE ${TORCH_LIBRARIES})
    endif()
  endif()
endif()

find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run tools/bootstrap.sh, or give a site's Torch through CMAKE_PREFIX_PATH")
